"""The administrator's screen of channels in a real Chromium: connect, switch off and on, remove."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from msgkit.testing.browser import ClientPhone, Operator, keep_picture
from msgkit.testing.connector_voice import ConnectorVoice
from msgkit.testing.demo import SPARE_BOTS
from msgkit.testing.system import System

pytestmark = pytest.mark.browser


def test_a_channel_is_connected_switched_and_removed(
    operator: Callable[[str], Operator], system: System
) -> None:
    page = operator("olena").page
    page.get_by_role("button", name="Обліковий запис").click()
    page.get_by_role("menuitem", name="Канали").click()
    page.get_by_test_id("connect").click()
    form = page.get_by_test_id("channel-form")
    form.get_by_text("Telegram-бот", exact=True).click()
    form.get_by_label("Назва для операторів").fill("Калина")
    form.get_by_text(system.sandbox_url).click()
    form.locator("input[name=token]").fill(SPARE_BOTS[0]["token"])
    form.get_by_role("button", name="Підключити").click()
    card = page.get_by_test_id("channel").filter(has_text="Калина")
    expect(card).to_have_attribute("data-state", "working")
    expect(card).to_contain_text(SPARE_BOTS[0]["username"])
    expect(card).not_to_contain_text(SPARE_BOTS[0]["token"])
    keep_picture(page, "channels")

    def choose(action: str) -> None:
        card.get_by_test_id("channel-menu").click()
        page.get_by_role("menuitem", name=action).click()

    choose("Налаштування…")
    # Whoever has an app of their own at the messenger types this in there by hand.
    expect(page.get_by_label("Адреса вебхука")).to_have_value(re.compile(r"/webhooks/telegram_bot/\w+$"))
    keep_picture(page, "channel-settings")
    page.keyboard.press("Escape")
    choose("Вимкнути")
    expect(card).to_have_attribute("data-state", "disabled")
    choose("Увімкнути")
    expect(card).to_have_attribute("data-state", "working")
    choose("Оновити секрет вебхука")
    page.get_by_test_id("notice").filter(has_text="оновлено").wait_for()
    choose("Видалити…")
    page.get_by_role("button", name="Видалити канал").click()
    expect(card).to_have_count(0)


def test_a_warning_of_a_channel_that_works_stays_until_a_person_says_it_is_settled(
    operator: Callable[[str], Operator], system: System, whatsapp_client: ClientPhone
) -> None:
    page = operator("olena").page
    page.get_by_test_id("list-active").wait_for()
    page.evaluate("location.hash = '#/channels'")
    card = page.get_by_test_id("channel").filter(has_text=system.whatsapp["title"])
    expect(card).to_have_attribute("data-state", "working")
    violated = {"event": "ACCOUNT_VIOLATION", "violation_info": {"violation_type": "SCAM"}}
    whatsapp_client.do("raw", field="account_update", value=violated)
    expect(card).to_contain_text("порушення правил WhatsApp (SCAM)")
    expect(card).to_have_attribute("data-state", "working")
    card.get_by_role("button", name="Підключити знову").click()
    expect(card).not_to_contain_text("порушення")


def test_an_operator_has_no_channels_to_change(operator: Callable[[str], Operator]) -> None:
    page = operator("ivan").page
    page.get_by_test_id("list-active").wait_for()
    page.evaluate("location.hash = '#/channels'")
    page.get_by_text("Канали налаштовує адміністратор").wait_for()
    expect(page.get_by_test_id("connect")).to_have_count(0)


def test_the_form_asks_for_what_any_messenger_announces(
    operator: Callable[[str], Operator], system: System
) -> None:
    schema = {
        "type": "object",
        "required": ["key", "region"],
        "properties": {
            "key": {
                "type": "string",
                "title": "Секретний ключ",
                "description": "З кабінету.",
                "writeOnly": True,
            },
            "region": {"type": "string", "title": "Регіон", "enum": ["eu", "us"], "default": "us"},
            "comment": {"type": "string", "title": "Примітка", "examples": ["для своїх"]},
        },
    }
    ConnectorVoice(system).announce("zulu_mail", "Зулу-пошта", schema)
    olena = operator("olena")
    page = olena.page
    olena.into_channels()
    page.get_by_test_id("connect").click()
    form = page.get_by_test_id("channel-form")
    form.get_by_text("Telegram-бот", exact=True).click()
    form.locator("input[name=token]").fill("чужий")
    form.get_by_text("Зулу-пошта").click()
    expect(form.locator("input[name=token]")).to_have_count(0)
    expect(form.get_by_text("З кабінету.")).to_be_visible()
    expect(form.get_by_label("Регіон")).to_have_value("us")
    expect(form.get_by_label("Примітка (необов'язково)")).to_have_attribute("placeholder", "для своїх")
    submit = form.get_by_role("button", name="Підключити")
    form.get_by_label("Назва для операторів").fill("Пошта")
    expect(submit).to_be_disabled()
    form.get_by_label("Секретний ключ").fill("s3cret")
    keep_picture(page, "any-messenger")
    expect(submit).to_be_enabled()
