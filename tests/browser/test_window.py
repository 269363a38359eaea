"""The chat window in a real Chromium, against the whole real system."""

from __future__ import annotations

import time

import pytest
from playwright.sync_api import BrowserContext, Page, expect

from msgkit.testing.browser import ClientPhone, Operator, keep_picture
from msgkit.testing.system import System

pytestmark = pytest.mark.browser

SEEN_WITHIN_S = 1.0


def open_window(context: BrowserContext, system: System, login: str) -> tuple[Page, Operator]:
    """Log in as a person would."""
    person = Operator(context, system, login)
    return person.page, person


def test_the_thread_in_a_real_browser(context: BrowserContext, system: System, client: ClientPhone) -> None:
    page, person = open_window(context, system, "olena")
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

    # What a client writes is text, whatever it looks like.
    hostile = f"<img src=x onerror=alert(1)> {client.id}"
    client.do("messages", text=hostile)
    page.get_by_test_id("message").filter(has_text=hostile).wait_for()
    assert page.locator("img[src='x']").count() == 0
    assert person.complaints == []
    keep_picture(page, "window")


def test_somebody_without_a_role_is_told_so(context: BrowserContext, system: System) -> None:
    page, _ = open_window(context, system, "nobody")
    page.get_by_text("Немає доступу до чатів").wait_for()


def test_an_outage_of_the_gateway_is_shown_and_nothing_is_missed(
    context: BrowserContext, system: System, client: ClientPhone
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
