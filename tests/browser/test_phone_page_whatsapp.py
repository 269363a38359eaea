"""The sandbox's phone page as a WhatsApp phone: who shows what, templates, lists, reactions, taking back."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Locator, Page, async_playwright, expect

from sandbox.app import running
from sandbox.settings import Settings, WhatsAppNumberSettings

pytestmark = pytest.mark.browser

NUMBER = "106540352242922"
TOKEN = "EAAGphonePageToken0123456789"
CHANNEL = "ch_whatsapp"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]

Json = dict[str, object]


class Business:
    """The server of the number: it keeps what it is told."""

    def __init__(self, http: aiohttp.ClientSession, url: str) -> None:
        self._http = http
        self.url = url
        self.got: list[tuple[str, Json]] = []
        """Field and value of every change."""

    async def greet(self, request: web.Request) -> web.Response:
        return web.Response(text=request.query["hub.challenge"])

    async def take(self, request: web.Request) -> web.Response:
        payload = json.loads(await request.read())
        self.got += [(c["field"], c["value"]) for entry in payload["entry"] for c in entry["changes"]]
        return web.Response()

    def messages(self) -> list[Json]:
        return [one for _, value in self.got for one in value.get("messages", [])]  # type: ignore[attr-defined]

    async def send(self, to: Json, **message: object) -> None:
        body = {"messaging_product": "whatsapp", **to, **message}
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with self._http.post(f"/graph/v25.0/{NUMBER}/messages", json=body, headers=headers) as answer:
            assert answer.status == 200, await answer.text()

    async def until(self, true: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not true():  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # pace: polls a state with a deadline


@pytest.fixture
async def business() -> AsyncIterator[Business]:
    """A sandbox with one number in coexistence, connected."""
    number = WhatsAppNumberSettings(
        phone_number_id=NUMBER,
        display_phone_number="+380 44 555 07 83",
        waba_id="102290129340398",
        token=TOKEN,
        app_secret="9e107d9d372bb6826bd81d3542a419d6",
        verify_token="перевір-мене",
        name="Салон краси «Мавка»",
        coexistence=True,
        hidden_clients={"maria": "maria_krasa"},
    )
    settings = Settings(host="127.0.0.1", public_port=0, sandbox_bots=(), sandbox_whatsapp_numbers=(number,))
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
        headers = {"Authorization": f"Bearer {TOKEN}"}
        callback = {"callback_url": f"{own}/webhooks/whatsapp", "channel_id": CHANNEL}
        for method, path, body in (
            ("PUT", f"/control/whatsapp/{NUMBER}", callback),
            ("POST", "/graph/v25.0/102290129340398/subscribed_apps", {}),
        ):
            async with http.request(method, path, json=body, headers=headers) as answer:
                assert answer.status == 200, await answer.text()
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
        tab = await browser.new_page(viewport={"width": 1200, "height": 900})
        tab.on("pageerror", lambda error: errors.append(str(error)))
        tab.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
        yield tab
        await browser.close()
    assert errors == []


async def _say(page: Page, text: str) -> None:
    await page.get_by_role("textbox", name="Повідомлення").fill(text)
    await page.get_by_role("button", name="Надіслати", exact=True).click()


async def _row(bubbles: Locator, text: str) -> Locator:
    """The bubble with its small buttons, which show under the pointer."""
    row = bubbles.locator(".row").filter(has=bubbles.page.locator(".words", has_text=text))
    await row.hover()
    return row


async def test_a_client_with_a_number_talks_changes_and_takes_back(business: Business, page: Page) -> None:
    await page.goto(business.url)
    await expect(page.get_by_label("Месенджер і бот")).to_have_value(CHANNEL)
    bubbles = page.get_by_role("log", name="Повідомлення")
    await _say(page, "Добрий день, хочу на манікюр")
    await business.until(business.messages)
    number = str(business.messages()[0]["from"])
    await expect(page.locator("#identity-line")).to_have_text(f"Компанія бачить +{number}.")

    rows = [{"id": "c", "title": "Стрижка", "description": "40 хв"}, {"id": "m", "title": "Манікюр"}]
    choice = {
        "type": "list",
        "header": {"type": "text", "text": "Послуги"},
        "body": {"text": "Оберіть:"},
        "action": {"button": "Відкрити", "sections": [{"title": "Усі", "rows": rows}]},
    }
    await business.send({"to": number}, type="interactive", interactive=choice)
    await bubbles.get_by_text("Відкрити").click()
    await page.get_by_role("button", name="Манікюр").click()
    await business.until(lambda: business.messages()[-1]["type"] == "interactive")

    row = await _row(bubbles, "Оберіть:")
    await row.get_by_role("button", name="Реакція").click()
    await row.get_by_role("button", name="❤️").click()
    await expect(row.locator(".reactions")).to_have_text("❤️")
    row = await _row(bubbles, "Оберіть:")
    await row.get_by_role("button", name="Відповісти").click()
    await _say(page, "А скільки коштує?")
    await expect(bubbles.locator(".quote").last).to_contain_text("Оберіть:")
    row = await _row(bubbles, "А скільки коштує?")
    await row.get_by_role("button", name="Змінити").click()
    await _say(page, "Скільки коштує манікюр?")
    row = await _row(bubbles, "Скільки коштує манікюр?")
    await row.get_by_role("button", name="Видалити").click()
    await expect(bubbles.get_by_text("Скільки коштує манікюр?")).to_be_hidden()
    kinds = [one["type"] for one in business.messages()]
    assert kinds == ["text", "interactive", "reaction", "text", "edit", "revoke"]

    owner = page.get_by_role("textbox", name="Власник пише у застосунку WhatsApp Business")
    await owner.fill("Чекаємо на вас")
    await page.get_by_role("button", name="Надіслати клієнтові").click()
    await expect(bubbles.get_by_text("Чекаємо на вас")).to_be_visible()
    await business.until(lambda: "smb_message_echoes" in [field for field, _ in business.got])

    await page.get_by_role("button", name="Змінити номер").click()
    await expect(page.locator("#identity-line")).not_to_contain_text(number)
    assert business.messages()[-1]["type"] == "system"
    await page.get_by_role("button", name="Заблокувати").click()
    await page.get_by_role("button", name="Розблокувати").click()
    await expect(page.get_by_role("textbox", name="Повідомлення")).to_be_visible()


async def test_a_client_without_a_number_gets_a_template_after_the_window(
    business: Business, page: Page
) -> None:
    await page.goto(business.url)
    bubbles = page.get_by_role("log", name="Повідомлення")
    await page.get_by_role("radio", name="Марія").click()
    await _say(page, "Вітаю")
    await business.until(business.messages)
    (said,) = business.messages()
    assert "from" not in said, "the phone is hidden"
    await expect(page.locator("#identity-line")).to_contain_text("@maria_krasa")
    await expect(page.locator("#window-line")).to_have_text("Компанія може відповідати вільно.")
    await page.get_by_role("button", name="Минуло 25 годин").click()
    await expect(page.locator("#window-line")).to_contain_text("лише шаблон")

    parameters = [{"type": "text", "text": words} for words in ("Маріє", "завтра о 10:00")]
    template = {
        "name": "appointment_reminder",
        "language": {"code": "uk"},
        "components": [{"type": "body", "parameters": parameters}],
    }
    await business.send({"recipient": said["from_user_id"]}, type="template", template=template)
    await expect(bubbles.locator(".words b")).to_have_text("Нагадування")
    await expect(bubbles.get_by_text("Вітаємо, Маріє! Чекаємо на вас завтра о 10:00.")).to_be_visible()
    await expect(bubbles.locator(".words small")).to_have_text("Салон «Мавка»")
    await page.get_by_role("button", name="Буду").click()
    await business.until(lambda: business.messages()[-1]["type"] == "button")

    await page.get_by_label("Режим особи: що бачить компанія").select_option("Номер телефону")
    await expect(page.locator("#identity-line")).to_contain_text("Компанія бачить +380")
    await page.get_by_role("button", name="Прикріпити").click()
    await page.get_by_role("menuitem", name="Голосове повідомлення").click()
    await expect(bubbles.locator("audio")).to_have_count(1)
    await page.get_by_role("button", name="Прикріпити").click()
    await page.get_by_role("menuitem", name="Поділитися номером").click()
    await expect(bubbles.locator(".card")).to_contain_text("+380")
    await business.until(lambda: business.messages()[-1]["type"] == "contacts")
    shared = business.messages()[-1]
    assert shared["from"] == shared["contacts"][0]["phones"][0]["wa_id"]  # type: ignore[index]
