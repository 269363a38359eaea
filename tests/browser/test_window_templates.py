"""When the time to answer is over: templates instead of words, chosen and filled in at the window."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from playwright.sync_api import BrowserContext, expect

from msgkit.testing.browser import ClientPhone, Operator, keep_picture
from msgkit.testing.system import System

pytestmark = pytest.mark.browser

LogIn = Callable[[str], Operator]


def test_a_template_goes_out_by_the_keyboard_alone_and_its_answer_opens_the_composer(
    operator: LogIn, whatsapp_client: ClientPhone
) -> None:
    phone = whatsapp_client
    digits = f"{int(phone.id[1:], 16) % 10**7:07}"
    phone.do("identity", phone_number=f"38067{digits}")
    phone.do("messages", text=f"писала вчора {phone.id}", hours_ago=25)
    olena = operator("olena")
    page = olena.open(phone)
    closed = page.get_by_test_id("window-closed")
    expect(closed).to_contain_text("можна надіслати лише шаблон")
    expect(olena.composer).to_have_count(0)
    national = f"067 {digits[:3]} {digits[3:5]} {digits[5:]}"
    expect(page.get_by_test_id("dialogue").get_by_test_id("phone")).to_have_text(national)
    expect(page.get_by_test_id("client-panel").get_by_role("link", name=national)).to_be_visible()

    page.get_by_test_id("choose-template").press("Enter")
    picker = page.get_by_test_id("template-picker")
    refused = picker.get_by_test_id("template").filter(has_text="photo ready")
    expect(refused).to_have_attribute("aria-disabled", "true")
    send = picker.get_by_test_id("send-template")
    page.keyboard.type("appointment")
    expect(picker.get_by_test_id("template")).to_have_count(1)
    expect(send).to_be_disabled()
    page.keyboard.press("Enter")
    page.keyboard.type(phone.id)
    page.keyboard.press("Enter")
    page.keyboard.type("завтра о 10:00")
    preview = picker.get_by_test_id("template-preview")
    expect(preview).to_contain_text(f"Вітаємо, {phone.id}! Чекаємо на вас завтра о 10:00.")
    expect(send).to_be_enabled()
    keep_picture(page, "template-picker")
    page.keyboard.press("Enter")
    expect(picker).to_have_count(0)
    expect(page.get_by_test_id("choose-template")).to_be_focused()
    sent = olena.message(f"Вітаємо, {phone.id}!")
    expect(sent.get_by_role("img", name="Доставлено")).to_be_visible()
    (shown,) = phone.got()
    assert shown["words"]["body"] == f"Вітаємо, {phone.id}! Чекаємо на вас завтра о 10:00."
    keep_picture(page, "template-sent")

    phone.do("press", text="Буду")
    expect(olena.message("Буду")).to_have_attribute("data-direction", "in")
    expect(olena.composer).to_be_visible()
    page.get_by_test_id("attach").click()
    page.get_by_role("menuitem", name="Шаблон…").click()
    expect(picker).to_be_visible()
    page.keyboard.press("Escape")
    olena.composer.fill("Чекаємо!")
    olena.composer.press("Enter")
    expect(olena.message("Чекаємо!").get_by_role("img", name="Доставлено")).to_be_visible()

    # Whatever we counted, the messenger's word ends the time to answer, until the client writes.
    phone.faults({"kind": "fails_later", "client": phone.id, "count": 1, "code": 131047})
    olena.composer.fill("І ще одне")
    olena.composer.press("Enter")
    expect(page.get_by_test_id("failed")).to_contain_text("24 годин")
    expect(closed).to_contain_text("Зараз сюди можна надіслати лише шаблон.")
    expect(olena.composer).to_have_count(0)
    keep_picture(page, "time-ended-by-the-messenger")
    phone.do("messages", text=f"я тут {phone.id}")
    expect(olena.composer).to_be_visible()


def test_the_composer_turns_by_itself_when_the_time_ends_and_keeps_the_draft(
    context: BrowserContext, system: System, whatsapp_client: ClientPhone
) -> None:
    phone = whatsapp_client
    phone.do("messages", text=f"щойно {phone.id}")
    context.clock.install(time=datetime.now(UTC))
    olena = Operator(context, system, "olena")
    page = olena.open(phone)
    expect(olena.composer).to_be_visible()
    expect(page.get_by_test_id("window-left")).to_have_count(0)
    olena.composer.fill("недописане")

    context.clock.fast_forward("21:00:00")
    expect(page.get_by_test_id("window-left")).to_contain_text("Можна відповідати ще 2 год")
    keep_picture(page, "time-left")
    context.clock.fast_forward("03:00:00")
    closed = page.get_by_test_id("window-closed")
    expect(closed).to_contain_text("Час для відповіді минув")
    expect(closed).to_contain_text("недописане")
    expect(olena.composer).to_have_count(0)
    keep_picture(page, "time-over")

    page.get_by_test_id("note-mode").click()
    expect(olena.composer).to_have_value("")
    olena.composer.fill(f"передзвонити {phone.id}")
    olena.composer.press("Enter")
    expect(olena.message(f"передзвонити {phone.id}")).to_have_attribute("data-direction", "note")
    expect(closed).to_contain_text("недописане")
    assert phone.got() == []
