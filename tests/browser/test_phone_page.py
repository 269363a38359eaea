"""The sandbox's phone page in a real browser: a client writes, edits, presses, blocks, reads answers."""

import shutil
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright, expect

from sandbox.app import running
from sandbox.settings import BotSettings, Settings

pytestmark = pytest.mark.browser

TOKEN = "7000000001:AAGsandbox-phone_page"
CHANNEL = "ch_phone"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture
async def webhooks() -> AsyncIterator[tuple[str, list[dict[str, object]]]]:
    """A bot's server: its address and the updates it got."""
    got: list[dict[str, object]] = []

    async def take(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/{tail:.*}", take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/telegram_bot/{CHANNEL}", got
    await runner.cleanup()


@pytest.fixture
async def sandbox() -> AsyncIterator[aiohttp.ClientSession]:
    """A sandbox with one bot, as an HTTP client of it."""
    bot = BotSettings(token=TOKEN, username="mavka_bot", name="Салон краси «Мавка»")
    settings = Settings(host="127.0.0.1", public_port=0, sandbox_bots=(bot,))
    async with running(settings) as url, aiohttp.ClientSession(url) as http:
        yield http


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


async def _bot(sandbox: aiohttp.ClientSession, method: str, **arguments: object) -> None:
    async with sandbox.post(f"/bot{TOKEN}/{method}", json=arguments) as answer:
        body = await answer.json()
    assert body["ok"], body


async def test_a_client_talks_with_a_bot(
    sandbox: aiohttp.ClientSession, webhooks: tuple[str, list[dict[str, object]]], page: Page
) -> None:
    url, got = webhooks
    await page.goto(str(sandbox._base_url))
    await expect(page.get_by_text("Жоден бот ще не має вебхука")).to_be_visible()
    await _bot(sandbox, "setWebhook", url=url)

    await page.get_by_role("button", name="Почати").click()
    await page.get_by_role("textbox", name="Повідомлення").fill("Добрий день")
    await page.get_by_role("textbox", name="Повідомлення").press("Enter")
    bubbles = page.get_by_role("log", name="Повідомлення")
    await expect(bubbles.get_by_text("Добрий день")).to_be_visible()
    async with sandbox.get(f"/control/{CHANNEL}/clients") as answer:
        (olena,) = await answer.json()

    await _bot(
        sandbox,
        "sendMessage",
        chat_id=olena["chat_id"],
        text="Записати <b>вас</b>?",
        reply_markup={"inline_keyboard": [[{"text": "Так", "callback_data": "yes"}]]},
    )
    await expect(bubbles.get_by_text("Записати <b>вас</b>?")).to_be_visible()
    await page.get_by_role("button", name="Так").click()

    await bubbles.get_by_text("Добрий день").hover()
    await page.get_by_role("button", name="Змінити").last.click()
    await page.get_by_role("textbox", name="Повідомлення").fill("Доброго вечора")
    await page.get_by_role("button", name="Надіслати").click()
    await expect(bubbles.get_by_text("змінено")).to_be_visible()
    await expect(bubbles.get_by_text("Добрий день")).to_be_hidden()

    await page.get_by_role("button", name="Заблокувати").click()
    await page.get_by_role("button", name="Перезапустити бота").click()
    await expect(page.get_by_role("textbox", name="Повідомлення")).to_be_visible()

    await page.get_by_role("textbox", name="Ім'я нового клієнта").fill("Ганна Лисенко")
    await page.get_by_role("button", name="Додати").click()
    await expect(page.get_by_role("radio", name="Ганна Лисенко")).to_be_checked()
    await expect(bubbles.get_by_text("/start")).to_be_visible()
    await page.get_by_role("radio", name="Олена").click()
    await expect(bubbles.get_by_text("Доброго вечора")).to_be_visible()

    kinds = [key for update in got for key in update if key != "update_id"]
    assert sorted(kinds) == sorted(
        ["message"] * 4 + ["callback_query", "edited_message", "my_chat_member", "my_chat_member"]
    )
