"""The sandbox's phone page as a Viber phone: the welcome, the keyboard, photos, reading, leaving."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from io import BytesIO
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from PIL import Image
from playwright.async_api import Page, async_playwright, expect

from sandbox.app import running
from sandbox.settings import BotSettings, Settings, ViberBotSettings

pytestmark = pytest.mark.browser

TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
CHANNEL = "ch_viber"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
]

Json = dict[str, object]


class Bot:
    """A bot's server: it welcomes, and keeps what it is told."""

    def __init__(self, sandbox: aiohttp.ClientSession, url: str) -> None:
        self._sandbox = sandbox
        self.url = url
        self.got: list[Json] = []

    async def take(self, request: web.Request) -> web.Response:
        callback = await request.json()
        self.got.append(callback)
        if callback["event"] != "conversation_started":
            return web.Response()
        welcome = {"type": "text", "text": "Вітаємо в «Мавці»! Чим допомогти?", "sender": {"name": "Мавка"}}
        return web.json_response(welcome)

    async def call(self, method: str, **call: object) -> Json:
        headers = {"X-Viber-Auth-Token": TOKEN}
        async with self._sandbox.post(f"/viber/pa/{method}", json=call, headers=headers) as answer:
            said: Json = await answer.json()
        assert said["status"] == 0, said
        return said


@pytest.fixture
async def bot() -> AsyncIterator[Bot]:
    """A sandbox with a bot of each messenger, the Viber one connected."""
    settings = Settings(
        host="127.0.0.1",
        public_port=0,
        sandbox_bots=(BotSettings(token="7000000001:AAGsandbox-phone", username="mavka_bot", name="Мавка"),),
        sandbox_viber_bots=(ViberBotSettings(token=TOKEN, name="Салон краси «Мавка»", uri="mavka"),),
    )
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(running(settings))
        http = await stack.enter_async_context(aiohttp.ClientSession(url))
        made = Bot(http, url)

        async def photo(_: web.Request) -> web.Response:
            stream = BytesIO()
            Image.new("RGB", (480, 300), "#7fb7be").save(stream, "JPEG")
            return web.Response(body=stream.getvalue(), content_type="image/jpeg")

        app = web.Application()
        app.router.add_post("/webhooks/{tail:.*}", made.take)
        app.router.add_get("/m/photo.jpeg", photo)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        own = f"http://127.0.0.1:{runner.addresses[0][1]}"
        made.photo_url = f"{own}/m/photo.jpeg"  # type: ignore[attr-defined]
        await made.call(
            "set_webhook", url=f"{own}/webhooks/viber_bot/{CHANNEL}", send_name=True, send_photo=True
        )
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


async def test_a_client_talks_with_a_viber_bot(bot: Bot, page: Page, tmp_path: Path) -> None:
    await page.goto(bot.url)
    await expect(page.get_by_label("Месенджер і бот")).to_have_value(CHANNEL)
    await page.get_by_role("button", name="Відкрити чат").click()
    bubbles = page.get_by_role("log", name="Повідомлення")
    await expect(bubbles.get_by_text("Вітаємо в «Мавці»!")).to_be_visible()

    await page.get_by_role("textbox", name="Повідомлення").fill("Добрий день, хочу на манікюр")
    await page.get_by_role("button", name="Надіслати", exact=True).click()
    await expect(bubbles.get_by_title("Доставлено боту")).to_have_count(1)
    olena = next(c["sender"]["id"] for c in bot.got if c["event"] == "message")  # type: ignore[index]
    keyboard = {
        "Type": "keyboard",
        "Buttons": [
            {"ActionType": "reply", "ActionBody": "Записатися", "Text": "<b>Записатися</b>", "Columns": 3},
            {"ActionType": "open-url", "ActionBody": "https://example.com/", "Text": "Ціни", "Columns": 3},
            {"ActionType": "share-phone", "ActionBody": "phone", "Text": "📱 Надіслати номер"},
        ],
    }
    sender = {"name": "Мавка"}
    picture = {"type": "picture", "text": "Ось наші роботи", "media": bot.photo_url}  # type: ignore[attr-defined]
    await bot.call("send_message", receiver=olena, sender=sender, **picture)
    await expect(bubbles.get_by_role("button", name="Фото: Ось наші роботи")).to_be_visible()
    text = {"type": "text", "text": "Оберіть:", "keyboard": keyboard, "min_api_version": 3}
    token = (await bot.call("send_message", receiver=olena, sender=sender, **text))["message_token"]
    await page.get_by_role("button", name="Записатися").click()
    await expect(bubbles.get_by_text("Записатися", exact=True)).to_be_visible()
    await page.get_by_role("button", name="📱 Надіслати номер").click()
    await expect(bubbles.locator(".card")).to_contain_text("+38067")
    await page.get_by_label("Файли", exact=True).set_input_files(_photo(tmp_path))
    await page.get_by_role("button", name="Надіслати", exact=True).click()
    await expect(bubbles.locator(".photo img")).to_have_count(2)
    await expect(page.get_by_role("button", name="Змінити")).to_have_count(0)
    # The chat is open in front of the client: what came is seen.
    async with asyncio.timeout(10):
        while token not in [c["message_token"] for c in bot.got if c["event"] == "seen"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)  # pace: polls a state with a deadline

    await page.get_by_role("button", name="Прикріпити").click()
    await expect(page.get_by_role("menuitem", name="Голосове повідомлення")).to_be_hidden()
    await page.get_by_role("menuitem", name="Посилання").click()
    await expect(bubbles.get_by_role("link", name="https://example.com/")).to_be_visible()
    await page.get_by_role("button", name="Відписатися").click()
    await expect(page.get_by_role("button", name="Записатися")).to_be_hidden()
    await page.get_by_role("button", name="Підписатися знову").click()
    await expect(page.get_by_role("button", name="Відписатися")).to_be_visible()
    events = [str(c["event"]) for c in bot.got]
    assert [e for e in events if e.endswith("subscribed")] == ["unsubscribed", "subscribed"]


async def test_a_message_the_phone_cannot_show_is_explained(bot: Bot, page: Page) -> None:
    await page.goto(bot.url)
    await page.get_by_role("button", name="Відкрити чат").click()
    await page.get_by_role("textbox", name="Повідомлення").fill("Добрий день")
    await page.get_by_role("button", name="Надіслати", exact=True).click()
    await expect(page.get_by_title("Доставлено боту")).to_have_count(1)
    olena = next(c["sender"]["id"] for c in bot.got if c["event"] == "message")  # type: ignore[index]
    gone = {"type": "picture", "text": "", "media": f"{bot.url}/nowhere.png"}
    await bot.call("send_message", receiver=olena, sender={"name": "Мавка"}, **gone)
    await expect(page.get_by_role("status")).to_have_text(
        "Телефон не показав повідомлення: адреса media відповіла 404."
    )


def _photo(folder: Path) -> Path:
    place = folder / "nails.jpg"
    Image.new("RGB", (320, 240), "coral").save(place)
    return place
