"""The sandbox's phone page as Messenger and Instagram, and beside it the business's own inbox."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Locator, Page, async_playwright, expect

from sandbox.app import running
from sandbox.settings import InstagramSettings, PageSettings, Settings

pytestmark = pytest.mark.browser

PAGE_ID = "682498302938465"
IG_ID = "17841405726653026"
PAGE_TOKEN = "EAAGphonePageToken0123456789"
IG_TOKEN = "IGAAphonePageToken0123456789"
APP = {
    "app_id": "1517776481860111",
    "app_secret": "9e107d9d372bb6826bd81d3542a419d6",
    "verify_token": "перевір-мене",
}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]

Json = dict[str, Any]


class Business:
    """The server of the app: it keeps what it is told."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url
        self.got: list[Json] = []
        """Every element of `messaging`."""

    async def greet(self, request: web.Request) -> web.Response:
        return web.Response(text=request.query["hub.challenge"])

    async def take(self, request: web.Request) -> web.Response:
        payload = json.loads(await request.read())
        self.got += [one for entry in payload["entry"] for one in entry["messaging"]]
        return web.Response()

    async def call(self, method: str, path: str, token: str, body: Json) -> Json:
        headers = {"Authorization": f"Bearer {token}"}
        async with self._http.request(method, path, json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()
            return dict(await answer.json())

    async def send(self, **message: object) -> Json:
        body = {"recipient": {"id": self.written()[-1]["sender"]["id"]}, **message}
        return await self.call("POST", f"/graph-meta/v25.0/{PAGE_ID}/messages", PAGE_TOKEN, body)

    async def send_instagram(self, **message: object) -> Json:
        body = {"recipient": {"id": self.written()[-1]["sender"]["id"]}, **message}
        return await self.call("POST", f"/graph-instagram/v25.0/{IG_ID}/messages", IG_TOKEN, body)

    def written(self) -> list[Json]:
        """What clients wrote, changed, pressed."""
        return [one for one in self.got if one["sender"]["id"] not in (PAGE_ID, IG_ID)]

    def last(self) -> Json:
        return dict(self.messages()[-1])

    def attached(self) -> list[Json]:
        """What came with the newest message."""
        return list(self.last().get("attachments", ()))

    def messages(self) -> list[Json]:
        return [one["message"] for one in self.written() if "message" in one]

    def echoes(self) -> list[Json]:
        return [one["message"] for one in self.got if one.get("message", {}).get("is_echo")]

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # pace: polls a state with a deadline


@pytest.fixture
async def business() -> AsyncIterator[Business]:
    """A sandbox with a page and an account of Instagram Login, both connected."""
    page = PageSettings(
        page_id=PAGE_ID, name="Салон краси «Мавка»", token=PAGE_TOKEN, human_agent=True, **APP
    )
    account = InstagramSettings(
        ig_id=IG_ID, username="mavka.kyiv", name="Салон «Мавка»", token=IG_TOKEN, login="instagram", **APP
    )
    settings = Settings(
        host="127.0.0.1",
        public_port=0,
        sandbox_bots=(),
        sandbox_pages=(page,),
        sandbox_instagram_accounts=(account,),
    )
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running(settings))
        http = await stack.enter_async_context(aiohttp.ClientSession(url))
        made = Business(http, url)
        app = web.Application()
        app.router.add_get("/{tail:.*}", made.greet)
        app.router.add_post("/{tail:.*}", made.take)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        own = f"http://127.0.0.1:{runner.addresses[0][1]}"
        for kind, place, account_id, token, fields in (
            (
                "facebook",
                "graph-meta",
                PAGE_ID,
                PAGE_TOKEN,
                "messages,message_echoes,message_edits,message_reactions,messaging_postbacks,message_reads",
            ),
            (
                "instagram",
                "graph-instagram",
                IG_ID,
                IG_TOKEN,
                "messages,message_edit,message_reactions,messaging_seen",
            ),
        ):
            callback = {"callback_url": f"{own}/webhooks/{kind}"}
            await made.call("PUT", f"/control/meta/{account_id}", token, callback)
            wanted = {"subscribed_fields": fields}
            await made.call("POST", f"/{place}/v25.0/{account_id}/subscribed_apps", token, wanted)
        yield made


@pytest.fixture
async def page() -> AsyncIterator[Page]:
    """A tab; an error in its console fails the test."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.fail("No chromium on this machine: apt-get install chromium", pytrace=False)
    errors: list[str] = []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        tab = await browser.new_page(viewport={"width": 1280, "height": 800})
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        yield tab
        await browser.close()
    assert errors == []


async def _say(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Повідомлення").fill(text)
    await page.get_by_role("button", name="Надіслати", exact=True).click()


async def _row(log: Locator, text: str) -> Locator:
    """The bubble with its small buttons, which show under the pointer."""
    row = log.locator(".row").filter(has=log.page.locator(".words", has_text=text))
    await row.hover()
    return row


async def _attach(page: Page, name: str) -> None:
    await page.get_by_role("button", name="Прикріпити").click()
    await page.get_by_role("menuitem", name=name).click()


async def test_a_client_of_the_page_and_its_staff_talk(business: Business, page: Page) -> None:
    await page.goto(business.url)
    await page.get_by_label("Месенджер і бот").select_option("Messenger · Салон краси «Мавка»")
    bubbles = page.get_by_role("log", name="Повідомлення")
    staff = page.get_by_role("log", name="Розмова очима персоналу")
    await _say(page, "Добрий день, є місце на суботу?")
    await business.until(business.messages)
    await expect(bubbles.locator(".seen")).to_have_text("Доставлено")
    await expect(staff.get_by_text("є місце на суботу?")).to_be_visible()
    await business.send(sender_action="mark_seen")
    await expect(bubbles.locator(".seen")).to_have_text("Переглянуто")
    await business.send(sender_action="typing_on")
    await expect(page.get_by_text("друкує…")).to_be_visible()

    replies = [{"content_type": "text", "title": hour, "payload": hour} for hour in ("10:00", "14:30")]
    await business.send(
        messaging_type="RESPONSE",
        message={"text": "О котрій?", "quick_replies": replies},
        reply_to={"mid": business.last()["mid"]},
    )
    await expect(bubbles.locator(".row.out .quote")).to_contain_text("є місце")
    await page.get_by_role("group", name="Швидкі відповіді").get_by_role("button", name="14:30").click()
    await business.until(lambda: business.last().get("quick_reply") == {"payload": "14:30"})
    await expect(page.get_by_role("group", name="Швидкі відповіді")).to_be_hidden()
    buttons = [{"type": "postback", "title": "Передзвоніть", "payload": "CALL"}]
    template = {"template_type": "button", "text": "Ще щось?", "buttons": buttons}
    attachment = {"type": "template", "payload": template}
    await business.send(messaging_type="RESPONSE", message={"attachment": attachment})
    await bubbles.get_by_role("button", name="Передзвоніть").click()
    await business.until(lambda: business.written()[-1].get("postback", {}).get("payload") == "CALL")

    row = await _row(bubbles, "О котрій?")
    await row.get_by_role("button", name="Реакція").click()
    await row.get_by_role("button", name="❤️").click()
    await expect(staff.locator(".reactions")).to_have_text("❤️")
    row = await _row(bubbles, "Добрий день, є місце")
    await expect(row.get_by_role("button", name="Скасувати надсилання")).to_have_count(0)
    await row.get_by_role("button", name="Змінити").click()
    await _say(page, "Добрий день, є місце на неділю?")
    await expect(staff.get_by_text("на неділю?")).to_be_visible()
    for kind in ("Стікер", "Голосове повідомлення", "Поділитися дописом", "Подобається"):
        await _attach(page, kind)
    await expect(bubbles.locator(".point")).to_contain_text("Весняна колекція")
    await expect(bubbles.locator(".bubble.like .kind")).to_have_text("👍")
    await expect(bubbles.locator("audio")).to_have_count(1)

    await page.get_by_role("textbox", name="Відповідь персоналу").fill("Це Ірина, чекаємо!")
    await page.get_by_role("button", name="Відповісти", exact=True).last.click()
    await expect(bubbles.locator(".row.out").last).to_contain_text("Це Ірина, чекаємо!")
    await business.until(lambda: business.echoes()[-1].get("text") == "Це Ірина, чекаємо!")
    assert [str(one["app_id"]) == APP["app_id"] for one in business.echoes()] == [True, True, False]
    labels = await staff.locator(".desk-row.ours .desk-meta").all_text_contents()
    assert [label.split(" · ")[0] for label in labels] == [
        "через підключену програму", "через підключену програму", "написано тут",
    ]  # fmt: skip
    await expect(staff.locator(".seen")).to_have_text("Клієнт переглянув")


async def test_a_client_of_instagram_answers_a_story_and_unsends(business: Business, page: Page) -> None:
    await page.goto(business.url)
    await page.get_by_label("Месенджер і бот").select_option("Instagram · Салон «Мавка»")
    bubbles = page.get_by_role("log", name="Повідомлення")
    await expect(page.get_by_label("Власна програма компанії: Instagram")).to_be_visible()
    await page.get_by_role("button", name="Сторіс акаунта").click()
    story = page.get_by_role("dialog", name="Салон «Мавка»")
    await expect(story.locator("img")).to_have_js_property("naturalWidth", 720)
    await story.get_by_role("textbox", name="Відповідь на сторіс").fill("Яка краса!")
    await story.get_by_role("button", name="Надіслати").click()
    await expect(story).to_be_hidden()
    await business.until(lambda: "story" in business.last().get("reply_to", {}))
    await expect(bubbles.locator(".point.story_reply img")).to_be_visible()

    await _attach(page, "Згадати акаунт у своїй сторіс")
    await business.until(lambda: [one["type"] for one in business.attached()] == ["story_mention"])
    await _attach(page, "Серце")
    await business.until(lambda: business.attached() == [{"type": "like_heart"}])
    await _attach(page, "Фото для одного перегляду")
    await business.until(lambda: business.attached() == [{"type": "ephemeral"}])
    await _attach(page, "Поділитися відео Reels")
    await expect(bubbles.locator(".point.reel video")).not_to_have_js_property("videoWidth", 0)
    await _say(page, "Ой, не туди")
    row = await _row(bubbles, "Ой, не туди")
    await row.get_by_role("button", name="Скасувати надсилання").click()
    await expect(page.get_by_text("Ой, не туди")).to_have_count(0)
    await business.until(lambda: business.last().get("is_deleted"))

    await page.get_by_label("Коли написано повідомлення").select_option("25 годин тому")
    await page.get_by_role("radio", name="Тарас").click()
    await _say(page, "Писав учора")
    await business.until(lambda: business.last().get("text") == "Писав учора")
    await expect(page.locator("#meta-window")).to_contain_text(
        "мітки HUMAN_AGENT у застосунку компанії немає"
    )
    await page.get_by_role("button", name="Дозвіл Human Agent").click()
    await expect(page.locator("#meta-window")).to_contain_text("бот уже не може, людина — ще 5 дн. 22 год")
    await business.send_instagram(
        messaging_type="MESSAGE_TAG", tag="HUMAN_AGENT", message={"text": "Вибачте, що довго"}
    )
    await expect(bubbles.get_by_text("Вибачте, що довго")).to_be_visible()

    await page.get_by_role("button", name="Обірвати підписку").click()
    await expect(page.get_by_role("status").filter(has_text="Підписку обірвано")).to_be_visible()
    known = len(business.got)
    await _say(page, "Мене чути?")
    await expect(bubbles.locator(".seen")).to_have_text("Надіслано")
    assert len(business.got) == known
    for width, height in ((1280, 800), (390, 844)):
        await page.set_viewport_size({"width": width, "height": height})
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
