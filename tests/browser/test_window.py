"""The chat window in a real Chromium, against the whole real system."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from msgkit.testing.phone import new_client
from msgkit.testing.system import System

pytestmark = pytest.mark.browser

SEEN_WITHIN_S = 1.0
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.fail(
            "Chromium is missing: `make test` installs it, or `apt-get install chromium`.", pytrace=False
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def context(chromium: Browser) -> Iterator[BrowserContext]:
    context = chromium.new_context(
        viewport={"width": 1440, "height": 900}, locale="uk-UA", timezone_id="Europe/Kyiv"
    )
    context.set_default_timeout(15_000)
    yield context
    context.close()


class Client:
    """A client's phone, in blocking calls."""

    def __init__(self, system: System, http: httpx2.Client) -> None:
        self._http = http
        self.id = new_client()
        self._base = f"/control/{system.channels['salon']['id']}/clients/{self.id}"

    def do(self, action: str, **body: Any) -> dict[str, Any]:
        answer = self._http.post(f"{self._base}/{action}", json=body)
        assert answer.is_success, answer.text
        return dict(answer.json())

    def answers(self) -> list[str]:
        bubbles = self._http.get(f"{self._base}/messages").json()
        return [bubble["text"] for bubble in bubbles if bubble["direction"] == "out"]


@pytest.fixture
def client(system: System) -> Iterator[Client]:
    with httpx2.Client(base_url=system.sandbox_url, timeout=30) as http:
        yield Client(system, http)


def open_window(context: BrowserContext, system: System, login: str) -> tuple[Page, list[str]]:
    """Log in as a person would; returns the page and what it complained of."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    account = system.account(login)
    page.goto(system.gateway_url)
    form = page.get_by_test_id("login-form")
    form.wait_for()
    form.locator("input").nth(0).fill(account.login)
    form.locator("input").nth(1).fill(account.password)
    form.locator("button[type=submit]").click()
    return page, complaints


def serious(complaints: list[str]) -> list[str]:
    """What a page must not say; 401 of the first refresh is how it learns that nobody is logged in."""
    return [line for line in complaints if "401" not in line]


def test_the_thread_in_a_real_browser(context: BrowserContext, system: System, client: Client) -> None:
    page, complaints = open_window(context, system, "olena")
    page.get_by_test_id("list-active").wait_for()
    started = time.monotonic()
    client.do("messages", text=f"Добрий день {client.id}")
    row = page.get_by_test_id("chat-row").filter(has_text=client.id)
    row.wait_for()
    assert time.monotonic() - started < SEEN_WITHIN_S * 2, "without a reload, at once"
    row.click()
    bubble = page.get_by_test_id("message").filter(has_text=f"Добрий день {client.id}")
    bubble.wait_for()

    composer = page.get_by_test_id("composer").locator("textarea")
    composer.fill(f"Вітаємо! {client.id}")
    composer.press("Enter")
    ours = page.get_by_test_id("message").filter(has_text=f"Вітаємо! {client.id}")
    expect(ours).to_have_attribute("data-state", "sent")
    assert client.answers() == [f"Вітаємо! {client.id}"]
    expect(composer).to_have_value("")

    client.do("messages", text=f"Дякую {client.id}")
    page.get_by_test_id("message").filter(has_text=f"Дякую {client.id}").wait_for()
    expect(page.get_by_test_id("message")).to_have_count(3)
    assert serious(complaints) == []
    _picture(page, "window")


def test_markup_of_a_client_stays_text(context: BrowserContext, system: System, client: Client) -> None:
    page, complaints = open_window(context, system, "olena")
    hostile = f"<img src=x onerror=alert(1)> {client.id}"
    client.do("messages", text=hostile)
    page.get_by_test_id("chat-row").filter(has_text=client.id).click()
    page.get_by_test_id("message").filter(has_text=hostile).wait_for()
    assert page.locator("img[src='x']").count() == 0
    assert serious(complaints) == []


def test_a_blocked_bot_replaces_the_composer(context: BrowserContext, system: System, client: Client) -> None:
    page, _ = open_window(context, system, "olena")
    client.do("messages", text=f"бувайте {client.id}")
    page.get_by_test_id("chat-row").filter(has_text=client.id).click()
    page.get_by_test_id("composer").wait_for()
    client.do("block")
    page.get_by_text("Бот заблоковано користувачем!").last.wait_for()
    expect(page.get_by_test_id("composer").locator("textarea")).to_have_count(0)


def test_somebody_without_a_role_is_told_so(context: BrowserContext, system: System) -> None:
    page, _ = open_window(context, system, "nobody")
    page.get_by_text("Немає доступу до чатів").wait_for()


def test_an_outage_of_the_gateway_is_shown_and_nothing_is_missed(
    context: BrowserContext, system: System, client: Client
) -> None:
    page, _ = open_window(context, system, "olena")
    client.do("messages", text=f"один {client.id}")
    page.get_by_test_id("chat-row").filter(has_text=client.id).click()
    page.get_by_test_id("message").filter(has_text=f"один {client.id}").wait_for()
    system.kill("gateway")
    page.get_by_test_id("connection-strip").wait_for()
    client.do("messages", text=f"два {client.id}")
    system.revive("gateway")
    page.get_by_test_id("message").filter(has_text=f"два {client.id}").wait_for(timeout=40_000)
    expect(page.get_by_test_id("connection-strip")).to_have_count(0)
    expect(page.get_by_test_id("message")).to_have_count(2)


def _picture(page: Page, name: str) -> None:
    """Keeps a picture where ROZMOVA_PICTURES says, to be looked at."""
    folder = os.environ.get("ROZMOVA_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")
