"""The sandbox's phone page in a real browser: a client writes, edits, presses, blocks, reads answers."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from PIL import Image
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


async def _chat_id(sandbox: aiohttp.ClientSession) -> int:
    """The client becomes reachable for the bot."""
    async with sandbox.post(
        f"/control/{CHANNEL}/clients/olena/messages", json={"text": "Добрий день"}
    ) as answer:
        return int((await answer.json())["chat_id"])


async def _until(true: Callable[[], bool]) -> None:
    """Wait for a webhook that is on its way, with a deadline."""
    async with asyncio.timeout(10):
        while not true():  # noqa: ASYNC110  # what another task collects has no event
            await asyncio.sleep(0.01)  # pace: polls a state with a deadline


async def _playable(page: Page, selector: str) -> float:
    """Length of a recording on the page in seconds, once the browser can play it."""
    script = """node => new Promise((done, failed) => {
        const ready = () => done(node.duration);
        if (node.readyState >= 1) ready();
        node.addEventListener("loadedmetadata", ready);
        node.addEventListener("error", () => failed(new Error(node.error.message)));
    })"""
    return float(await page.locator(selector).last.evaluate(script))


async def test_a_client_sends_and_sees_files(
    sandbox: aiohttp.ClientSession, webhooks: tuple[str, list[dict[str, object]]], page: Page, tmp_path: Path
) -> None:
    url, got = webhooks
    await _bot(sandbox, "setWebhook", url=url)
    chat_id = await _chat_id(sandbox)
    await page.goto(str(sandbox._base_url))
    bubbles = page.get_by_role("log", name="Повідомлення")
    await expect(bubbles.get_by_text("Добрий день")).to_be_visible()

    pictures = []
    for color in ("coral", "teal", "gold"):
        pictures.append(tmp_path / f"{color}.png")
        Image.new("RGB", (320, 240), color).save(pictures[-1])
    await page.get_by_label("Файли", exact=True).set_input_files(pictures)
    await page.get_by_role("button", name="Прибрати gold.png").click()
    await expect(page.locator(".preview img")).to_have_count(2)
    await page.get_by_role("textbox", name="Повідомлення").fill("Дві фарби")
    await page.get_by_role("button", name="Надіслати").click()
    await expect(bubbles.locator(".mosaic img")).to_have_count(2)
    await expect(bubbles.get_by_text("Дві фарби")).to_be_visible()
    await expect(page.locator(".preview")).to_have_count(0)

    for item in (
        "Голосове повідомлення",
        "Відеоповідомлення",
        "Стікер",
        "Місце на мапі",
        "Поділитися номером",
    ):
        await page.get_by_role("button", name="Прикріпити").click()
        await page.get_by_role("menuitem", name=item).click()
    await expect(bubbles.locator("img.sticker")).to_be_visible()
    await expect(bubbles.get_by_text("50.45010, 30.52340")).to_be_visible()
    await expect(bubbles.locator(".card")).to_contain_text("+38067")
    assert await _playable(page, "audio") == pytest.approx(7, abs=0.1)
    assert await _playable(page, "video.note") == pytest.approx(5, abs=0.1)

    form = aiohttp.FormData({"chat_id": str(chat_id), "caption": "Ваш рахунок"}, quote_fields=False)
    form.add_field("document", b"%PDF-1.4", filename="рахунок.pdf")
    async with sandbox.post(f"/bot{TOKEN}/sendDocument", data=form) as answer:
        assert (await answer.json())["ok"]
    await expect(bubbles.get_by_role("link", name="рахунок.pdf")).to_contain_text("8 Б")
    async with page.expect_download() as download:
        await bubbles.get_by_role("link", name="рахунок.pdf").click()
    assert (await (await download.value).path()).read_bytes() == b"%PDF-1.4"

    await bubbles.get_by_role("button", name="Фото: Дві фарби").click()
    await expect(page.get_by_alt_text("Фото на весь екран")).to_be_visible()
    await page.get_by_role("button", name="Закрити").click()
    await expect(page.get_by_alt_text("Фото на весь екран")).to_be_hidden()
    await _until(lambda: len(got) == 8)
    kinds = [key for update in got for key in update["message"]]  # type: ignore[attr-defined]
    assert [k for k in kinds if k in ("photo", "voice", "video_note", "sticker", "location", "contact")] == [
        "photo", "photo", "voice", "video_note", "sticker", "location", "contact",
    ]  # fmt: skip


async def test_buttons_wait_for_their_answer_and_commands_are_offered(
    sandbox: aiohttp.ClientSession, webhooks: tuple[str, list[dict[str, object]]], page: Page
) -> None:
    url, got = webhooks
    await _bot(sandbox, "setWebhook", url=url)
    chat_id = await _chat_id(sandbox)
    await _bot(sandbox, "setMyCommands", commands=[{"command": "menu", "description": "Послуги та ціни"}])
    inline = {
        "inline_keyboard": [[{"text": "Так", "callback_data": "yes"}, {"text": "Ні", "callback_data": "no"}]]
    }
    await _bot(sandbox, "sendMessage", chat_id=chat_id, text="Записати вас?", reply_markup=inline)
    reply = {"keyboard": [[{"text": "📱 Мій номер", "request_contact": True}, {"text": "Меню"}]]}
    await _bot(sandbox, "sendMessage", chat_id=chat_id, text="Оберіть", reply_markup=reply)
    await page.goto(str(sandbox._base_url))
    yes = page.get_by_role("button", name="Так")
    await yes.click()
    await expect(yes).to_have_attribute("aria-busy", "true")
    async with sandbox.get(f"/control/{CHANNEL}/clients/olena/presses") as answer:
        (press,) = await answer.json()
    assert (press["data"], press["answered"]) == ("yes", False)
    await _bot(sandbox, "answerCallbackQuery", callback_query_id=press["callback_query_id"], text="Записали!")
    await expect(page.get_by_role("status")).to_have_text("Записали!")
    await expect(yes).not_to_have_attribute("aria-busy", "true")

    await page.get_by_role("button", name="Команди бота").click()
    await page.get_by_role("menuitem", name="/menu Послуги та ціни").click()
    await expect(page.get_by_role("log").get_by_text("/menu")).to_be_visible()
    await page.get_by_role("button", name="📱 Мій номер").click()
    await expect(page.get_by_role("log").locator(".card")).to_be_visible()
    await _bot(
        sandbox, "sendMessage", chat_id=chat_id, text="Дякуємо", reply_markup={"remove_keyboard": True}
    )
    await expect(page.get_by_role("button", name="Меню", exact=True)).to_be_hidden()
    await _until(lambda: "contact" in got[-1].get("message", {}))  # type: ignore[operator]
    assert got[-1]["message"]["contact"]["user_id"] == chat_id  # type: ignore[index]
