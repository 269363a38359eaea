"""Everybody can use the window: axe-core finds nothing, and the keyboard alone is enough."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page, expect

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

LogIn = Callable[[str], Operator]
AXE = Path(__file__).parents[2] / "services/gateway/web/node_modules/axe-core/axe.min.js"


class Inspection:
    """Looks at one state after another, in the light and for its colours in the dark; tells all at once."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def look(self, page: Page, state: str) -> None:
        self._note(f"{state}, light", accessibility_faults(page, AXE))
        keep_picture(page, f"{state}-light")
        with in_the_dark(page):
            self.look_at_colours(page, state)

    def look_at_colours(self, page: Page, state: str) -> None:
        self._note(f"{state}, dark", accessibility_faults(page, AXE, COLOUR_RULES))
        keep_picture(page, f"{state}-dark")

    def _note(self, where: str, faults: list[str]) -> None:
        self.faults += [f"{where}: {fault}" for fault in faults]


def test_axe_finds_nothing(
    operator: LogIn,
    context: BrowserContext,
    system: System,
    client: ClientPhone,
    whatsapp_client: ClientPhone,
) -> None:
    inspection = Inspection()
    stranger = context.new_page()
    stranger.emulate_media(color_scheme="light")
    stranger.goto(system.gateway_url)
    stranger.get_by_test_id("login-form").wait_for()
    inspection.look(stranger, "login")

    olena, ivan = operator("olena"), operator("ivan")
    page = olena.page
    page.get_by_test_id("list-active").wait_for()
    page.get_by_text("Оберіть чат у списку ліворуч").wait_for()
    # Once as a person puts it on.
    olena.wear("dark")
    inspection.look_at_colours(page, "put-on")
    olena.wear("light")
    inspection.look(page, "nothing-open")

    client.do("messages", text=f"Добрий день! Чи є вільний час на завтра? {client.id}")
    olena.open(client)
    ivan.open(client)
    client.do("messages", kind="photo", file={"generate": "photo"}, caption="Хочу ось так")
    client.do("messages", kind="document", file={"generate": "text", "name": "Довідка.txt"})
    client.do("messages", kind="voice", file={"generate": "voice"})
    client.do("messages", kind="location")
    client.do("share-contact", own=True)
    page.get_by_test_id("thumb").wait_for()
    page.get_by_test_id("player").wait_for()
    page.get_by_test_id("contact").wait_for()
    inspection.look(page, "dialogue")
    page.get_by_test_id("note-mode").click()
    olena.composer.fill("постійна клієнтка")
    inspection.look(page, "note")
    olena.composer.press("Enter")
    page.get_by_test_id("chat-menu").click()
    inspection.look(page, "chat-menu")
    page.keyboard.press("Escape")

    olena.composer.fill("Так, о 15:00")
    ivan.composer.fill("Так, о 16:00")
    ivan.composer.press("Enter")
    olena.message("Так, о 16:00").wait_for()
    olena.composer.press("Enter")
    page.get_by_test_id("collision").wait_for()
    inspection.look(page, "guard")
    page.get_by_role("button", name="Повернути в чернетку").click()

    page.set_viewport_size({"width": 390, "height": 800})
    # The heading follows the width a moment after the colours and measures do.
    page.locator("main h1").wait_for()
    inspection.look(page, "narrow")
    page.set_viewport_size({"width": 1440, "height": 900})
    client.do("block")
    page.get_by_test_id("blocked").wait_for()
    expect(olena.composer).to_have_count(0)
    inspection.look(page, "blocked")
    page.keyboard.press("Control+Slash")
    page.get_by_test_id("keys-help").wait_for()
    inspection.look(page, "keys")
    page.keyboard.press("Escape")

    whatsapp_client.do("messages", text=f"Писала вчора {whatsapp_client.id}", hours_ago=25)
    olena.open(whatsapp_client)
    page.get_by_test_id("choose-template").wait_for()
    inspection.look(page, "time-is-over")
    page.get_by_test_id("choose-template").click()
    page.get_by_test_id("template").filter(has_text="appointment reminder").click()
    inspection.look(page, "templates")
    page.keyboard.press("Escape")

    olena.into_channels()
    page.get_by_test_id("channel").first.wait_for()
    inspection.look(page, "channels")
    page.get_by_test_id("channel-menu").last.click()
    page.get_by_role("menuitem", name="Налаштування…").click()
    page.get_by_role("button", name="Додати кнопку").click()
    inspection.look(page, "channel-settings")
    page.keyboard.press("Escape")
    page.get_by_test_id("connect").click()
    page.get_by_test_id("channel-form").locator("input[type=password]").first.wait_for()
    inspection.look(page, "channel-form")
    assert not inspection.faults, "\n".join(inspection.faults)


def test_the_keyboard_alone_is_enough(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"перше {client.id}")
    olena = operator("olena")
    page = olena.page
    row = page.get_by_test_id("chat-row").filter(has_text=client.id)
    row.wait_for()

    page.keyboard.press("Alt+KeyU")
    expect(row).to_have_attribute("aria-selected", "true")
    expect(olena.composer).to_be_focused()
    page.keyboard.type("так")
    page.keyboard.press("Enter")
    expect(olena.message("так")).to_have_attribute("data-state", "sent")

    page.keyboard.press("Escape")
    expect(page.locator("#chat-list")).to_be_focused()
    for region in ('[data-testid="messages"]', "#composer", '[data-testid="client-panel"]', "#chat-list"):
        page.keyboard.press("F6")
        expect(page.locator(region)).to_be_focused()
    page.keyboard.press("Shift+F6")
    expect(page.get_by_test_id("client-panel")).to_be_focused()

    page.keyboard.press("?")
    help_ = page.get_by_test_id("keys-help")
    expect(help_).to_contain_text("Наступний непрочитаний")
    help_.get_by_role("checkbox").uncheck()
    page.keyboard.press("Escape")
    expect(help_).to_have_count(0)
    expect(page.get_by_test_id("client-panel")).to_be_focused()
    page.keyboard.press("Alt+KeyE")
    expect(page.get_by_text("Чат завершено")).to_have_count(0)
    page.keyboard.press("Control+Slash")
    help_.get_by_role("checkbox").check()
    page.keyboard.press("Escape")

    page.keyboard.press("Alt+KeyW")
    page.get_by_test_id("notice").filter(has_text="в очікування").wait_for()
    page.keyboard.press("Alt+KeyE")
    page.get_by_test_id("notice").filter(has_text="Чат завершено").wait_for()
    page.set_viewport_size({"width": 390, "height": 800})
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("dialogue")).to_have_attribute("data-id", "")
