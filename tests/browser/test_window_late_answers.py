"""Messenger and Instagram at the window: how long people may answer, and what a client points at."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, expect

from msgkit.testing.browser import (
    COLOUR_RULES,
    ClientPhone,
    Operator,
    accessibility_faults,
    in_the_dark,
    keep_picture,
)
from msgkit.testing.system import System

pytestmark = pytest.mark.browser

AXE = Path(__file__).parents[2] / "services/gateway/web/node_modules/axe-core/axe.min.js"
LogIn = Callable[[str], Operator]
DAY, WEEK = timedelta(hours=24), timedelta(days=7)
MARGIN = timedelta(seconds=30)
"""The window closes so much before the messenger would."""


@pytest.fixture
def phone_of(system: System) -> Iterator[Callable[[dict[str, Any]], ClientPhone]]:
    with httpx2.Client(base_url=system.sandbox_url, timeout=30) as http:
        yield lambda channel: ClientPhone(system, http, channel)


@pytest.fixture
def instagram(system: System, phone_of: Callable[[dict[str, Any]], ClientPhone]) -> ClientPhone:
    return phone_of(system.instagram)


@pytest.fixture
def facebook(system: System, phone_of: Callable[[dict[str, Any]], ClientPhone]) -> ClientPhone:
    return phone_of(system.facebook)


def wrote(phone: ClientPhone, ago: timedelta) -> None:
    sent_at = int((time.time() - ago.total_seconds()) * 1000)
    phone.do("messages", text=f"ще чекаю {phone.id}", sent_at=sent_at)


def say(person: Operator, words: str) -> None:
    person.composer.fill(words)
    person.composer.press("Enter")


def settings_of(page: Page, title: str) -> None:
    """The dialog with the settings of a channel."""
    card = page.get_by_test_id("channel").filter(has_text=title)
    card.get_by_test_id("channel-menu").click()
    page.get_by_role("menuitem", name="Налаштування…").click()


def test_an_operator_answers_on_the_third_day_and_is_told_until_when(
    operator: LogIn, instagram: ClientPhone
) -> None:
    wrote(instagram, 3 * DAY)
    olena = operator("olena")
    page = olena.open(instagram)
    expect(page.get_by_test_id("window-until")).to_have_text(
        re.compile(r"^Можна відповідати до \d+ \S+( \d{4} р\.)?, \d\d:\d\d$")
    )
    expect(page.get_by_test_id("time-short")).to_have_count(0)
    keep_picture(page, "late-until")
    say(olena, f"відповідаємо {instagram.id}")
    expect(olena.message(f"відповідаємо {instagram.id}").get_by_role("img", name="Надіслано")).to_be_visible()
    (got,) = instagram.got()
    assert got["tag"] == "HUMAN_AGENT"


def test_the_last_day_is_counted_and_the_window_closes_by_itself(
    operator: LogIn, instagram: ClientPhone, phone_of: Callable[[dict[str, Any]], ClientPhone], system: System
) -> None:
    short = phone_of(system.instagram)
    wrote(short, WEEK - timedelta(hours=5, minutes=20))
    olena = operator("olena")
    page = olena.open(short)
    expect(page.get_by_test_id("window-left")).to_have_text(re.compile(r"ще 5 год (19|20) хв$"))
    row = page.get_by_test_id("chat-row").filter(has_text=short.id)
    expect(
        row.get_by_role("img", name=re.compile("^Час для відповіді спливає: залишилося 5 год"))
    ).to_be_visible()
    keep_picture(page, "late-short")
    assert accessibility_faults(page, AXE) == []
    with in_the_dark(page):
        keep_picture(page, "late-short-dark")
        assert accessibility_faults(page, AXE, COLOUR_RULES) == []

    wrote(instagram, WEEK - MARGIN - timedelta(seconds=12))
    olena.open(instagram)
    expect(page.get_by_test_id("window-left")).to_have_text("Можна відповідати ще менше хвилини")
    sign = page.get_by_test_id("chat-row").filter(has_text=instagram.id).get_by_test_id("time-short")
    expect(sign).to_have_attribute("title", "Час для відповіді спливає: залишилося менше хвилини")
    olena.composer.fill("не встигну дописати")
    closed = page.get_by_test_id("window-closed")
    over = re.compile(r"минув сьогодні об? \d\d:\d\d\. Дочекайтеся")
    expect(closed).to_contain_text(over, timeout=20_000)
    expect(olena.composer).to_have_count(0)
    expect(sign).to_have_count(0)
    expect(closed).to_contain_text("Чернетку збережено: «не встигну дописати»")
    keep_picture(page, "late-closed")
    assert instagram.got() == []
    closed.get_by_test_id("note-mode").click()
    say(olena, "зателефонувати завтра")
    expect(olena.message("зателефонувати завтра")).to_have_attribute("data-direction", "note")

    instagram.do("messages", text=f"я знову тут {instagram.id}")
    expect(olena.composer).to_have_value("не встигну дописати")


def test_a_minute_around_the_end_of_the_week(
    operator: LogIn, phone_of: Callable[[dict[str, Any]], ClientPhone], system: System
) -> None:
    olena = operator("olena")
    for age, is_open in ((WEEK - timedelta(minutes=1), True), (WEEK + timedelta(minutes=1), False)):
        client = phone_of(system.instagram)
        wrote(client, age)
        page = olena.open(client)
        expect(page.get_by_test_id("window-closed")).to_have_count(0 if is_open else 1)
        expect(olena.composer).to_have_count(1 if is_open else 0)


def test_a_setting_nobody_granted_goes_off_by_itself_and_every_window_follows(
    operator: LogIn, facebook: ClientPhone, system: System
) -> None:
    wrote(facebook, DAY + timedelta(hours=1))
    ivan = operator("ivan")
    window = ivan.open(facebook)
    expect(window.get_by_test_id("window-closed")).to_be_visible()

    olena = operator("olena")
    page = olena.page
    olena.into_channels()
    settings_of(page, system.facebook["title"])
    choice = page.get_by_test_id("human-agent")
    expect(choice).to_contain_text("Потрібен дозвіл Human Agent від Meta; без нього — 24 години.")
    choice.get_by_role("checkbox").check()
    keep_picture(page, "late-setting")
    page.get_by_test_id("channel-form").get_by_role("button", name="Зберегти").click()
    expect(choice).to_have_count(0)

    # Without another word of the client the chat is open again, in a window that was open all the time.
    expect(ivan.composer).to_be_visible()
    say(ivan, f"пробуємо {facebook.id}")
    failed = ivan.message(f"пробуємо {facebook.id}").locator("xpath=ancestor::*[3]").get_by_test_id("failed")
    expect(failed).to_be_visible()
    expect(window.get_by_test_id("window-closed")).to_be_visible()
    keep_picture(window, "late-not-granted")
    card = page.get_by_test_id("channel").filter(has_text=system.facebook["title"])
    expect(card).to_contain_text("Human Agent")
    keep_picture(page, "late-alert")
    settings_of(page, system.facebook["title"])
    expect(choice.get_by_role("checkbox")).not_to_be_checked()


def test_what_a_client_points_at_is_shown_once_and_opened_safely(
    operator: LogIn, instagram: ClientPhone
) -> None:
    instagram.do("messages", kind="story_reply", text=f"а скільки таке? {instagram.id}")
    olena = operator("olena")
    page = olena.open(instagram)
    bubble = olena.message(f"а скільки таке? {instagram.id}")
    expect(bubble.get_by_test_id("shared-link")).to_contain_text("Відповідь на вашу історію")
    expect(page.get_by_test_id("client-panel")).to_contain_text("Instagram Direct")
    instagram.do("messages", kind="share", text="")
    post = page.locator("[data-testid=shared-link][data-kind=post]")
    link = post.get_by_role("link", name="Відкрити на instagram.com")
    expect(link).to_have_attribute("rel", "noopener noreferrer")
    expect(link).to_have_attribute("target", "_blank")
    expect(olena.message("Допис")).to_have_text(
        re.compile(r"^Допис\s*Відкрити на instagram\.com\s*\d\d:\d\d$")
    )
    thumb = bubble.get_by_test_id("thumb")
    expect(thumb).to_be_visible()
    page.wait_for_function("image => image.complete && image.naturalWidth > 0", arg=thumb.element_handle())
    keep_picture(page, "story-reply")
    assert accessibility_faults(page, AXE) == []
    with in_the_dark(page):
        assert accessibility_faults(page, AXE, COLOUR_RULES) == []


def test_a_new_channel_asks_for_what_its_messenger_needs(operator: LogIn) -> None:
    olena = operator("olena")
    page = olena.page
    olena.into_channels()
    page.get_by_test_id("connect").click()
    form = page.get_by_test_id("channel-form")
    for title, granted in (("Facebook Messenger", False), ("Instagram Direct", True)):
        form.get_by_text(title, exact=True).click()
        choice = form.get_by_test_id("human-agent").get_by_role("checkbox")
        expect(choice).to_be_checked(checked=granted)
    keep_picture(page, "late-connect")
    form.get_by_text("Telegram-бот", exact=True).click()
    expect(form.get_by_test_id("human-agent")).to_have_count(0)
