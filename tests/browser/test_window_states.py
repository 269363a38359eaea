"""What becomes of an answer and of a channel as the operator sees it: ticks, buttons, refusal, banner."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, expect

from msgkit.testing.browser import ClientPhone, Operator, keep_picture
from msgkit.testing.connector_voice import ConnectorVoice
from msgkit.testing.demo import VIBER_WELCOME
from msgkit.testing.system import System

pytestmark = pytest.mark.browser

LogIn = Callable[[str], Operator]
WELCOME = str(VIBER_WELCOME["text"])


def test_a_viber_dialogue_from_its_welcome_to_the_blue_ticks(
    operator: LogIn, viber_client: ClientPhone, system: System
) -> None:
    phone = viber_client
    phone.open()
    phone.do("messages", text=f"чекаю {phone.id}")
    olena = operator("olena")
    page = olena.page
    row = page.get_by_test_id("chat-row").filter(has_text=phone.id)
    expect(row.get_by_role("img", name=f"Viber-бот, {system.viber['title']}")).to_have_text("V")
    olena.open(phone)
    welcome = olena.message(WELCOME)
    expect(welcome).to_contain_text("Бот")
    buttons = page.get_by_test_id("buttons")
    expect(buttons).to_have_text("Записатися")
    expect(buttons.get_by_role("link")).to_have_count(0)
    phone.do("press", text="Записатися")
    expect(olena.message("Записатися")).to_have_attribute("data-direction", "in")

    olena.composer.fill("Записали вас")
    olena.composer.press("Enter")
    ours = olena.message("Записали вас")
    delivered = ours.get_by_role("img", name="Доставлено")
    delivered.wait_for()
    grey = delivered.evaluate("(tick) => getComputedStyle(tick).color")
    phone.do("read")
    read = ours.get_by_role("img", name="Прочитано")
    read.wait_for()
    assert read.evaluate("(tick) => getComputedStyle(tick).color") != grey
    row = page.get_by_test_id("chat-row").filter(has_text="Записали вас")
    expect(row.get_by_role("img", name="Прочитано")).to_be_visible()
    keep_picture(page, "viber")

    phone.do("block")
    expect(page.get_by_test_id("blocked")).to_contain_text("Бот заблоковано користувачем!")
    expect(olena.composer).to_have_count(0)
    keep_picture(page, "viber-blocked")
    phone.do("unblock")
    page.get_by_test_id("composer").wait_for()


def test_what_the_phone_could_not_show_says_why_and_can_be_sent_again(
    operator: LogIn, viber_client: ClientPhone
) -> None:
    phone = viber_client
    phone.do("messages", text=f"чекаю {phone.id}")
    olena = operator("olena")
    page = olena.open(phone)
    phone.faults({"kind": "fails_later", "client": phone.id, "count": 1})
    olena.composer.fill("ось прайс")
    olena.composer.press("Enter")
    failed = page.get_by_test_id("failed")
    expect(failed).to_contain_text("Не надіслано. ")
    assert len(failed.inner_text()) > len("Не надіслано. ПовторитиВидалити") + 10, "there is a reason"
    row = page.get_by_test_id("chat-row").and_(page.locator("[aria-selected=true]"))
    expect(row.get_by_role("img", name="Останнє повідомлення не надіслано")).to_be_visible()
    keep_picture(page, "failed")
    failed.get_by_role("button", name="Повторити").click()
    expect(olena.message("ось прайс").get_by_role("img", name="Доставлено")).to_be_visible()


def test_a_broken_channel_says_what_is_wrong_and_leads_to_its_one_fix(
    operator: LogIn, client: ClientPhone, system: System
) -> None:
    client.do("messages", text=f"ви тут? {client.id}")
    olena, ivan = operator("olena"), operator("ivan")
    page = olena.open(client)
    ivan.open(client)
    problem = "Вебхук цього бота веде до іншої системи. Підключіть канал знову."
    ConnectorVoice(system).channel_fails(system.channels["salon"], problem)
    banner = ivan.page.get_by_test_id("disconnected")
    expect(banner).to_contain_text("Канал відключено")
    expect(banner).to_contain_text("адміністратор")
    expect(banner.get_by_role("button")).to_have_count(0)
    expect(ivan.page.get_by_test_id("composer")).to_have_count(0)

    expect(page.get_by_test_id("disconnected")).to_contain_text(problem)
    keep_picture(page, "disconnected")
    page.get_by_test_id("disconnected").get_by_role("button", name="До каналів").click()
    card = page.get_by_test_id("channel").filter(has_text=system.channels["salon"]["title"])
    expect(card).to_have_attribute("data-state", "broken")
    expect(card).to_contain_text(problem)
    keep_picture(page, "channel-broken")
    card.get_by_test_id("reconnect").click()
    expect(card).to_have_attribute("data-state", "working")
    ivan.page.get_by_test_id("composer").wait_for()
    ivan.composer.fill("так, ми тут")
    ivan.composer.press("Enter")
    expect(ivan.message("так, ми тут")).to_have_attribute("data-state", "sent")


def test_the_welcome_written_in_the_settings_is_what_the_next_client_sees(
    operator: LogIn, viber_client: ClientPhone, system: System
) -> None:
    olena = operator("olena")
    page = olena.page
    olena.into_channels()
    card = page.get_by_test_id("channel").filter(has_text=system.viber["title"])
    form = page.get_by_test_id("channel-form")
    welcome = form.get_by_label("Привітання", exact=True)
    save = form.get_by_role("button", name="Зберегти")

    def open_settings() -> None:
        card.get_by_test_id("channel-menu").click()
        page.get_by_role("menuitem", name="Налаштування…").click()

    open_settings()
    expect(welcome).to_have_value(WELCOME)
    expect(save).to_be_disabled()
    welcome.fill("Добридень! Чим допомогти?")
    form.get_by_role("button", name="Додати кнопку").click()
    form.get_by_label("Напис на кнопці 2").fill("Наш сайт")
    form.get_by_label("Відповідь або адреса кнопки 2").fill("https://mavka.example")
    keep_picture(page, "welcome")
    save.click()
    expect(form).to_have_count(0)
    shown = viber_client.open()
    assert shown["text"] == "Добридень! Чим допомогти?"
    assert [button["label"] for button in shown["keyboard"]["Buttons"]] == ["Записатися", "Наш сайт"]

    open_settings()
    expect(form.get_by_label("Відповідь або адреса кнопки 2")).to_have_value("https://mavka.example")
    welcome.fill(WELCOME)
    form.get_by_role("button", name="Прибрати кнопку 2").click()
    save.click()
    expect(form).to_have_count(0)


def test_a_part_that_a_new_version_took_away_breaks_nothing(
    context: BrowserContext, system: System, client: ClientPhone
) -> None:
    client.do("messages", text=f"слід {client.id}")
    ivan = Operator(context, system, "ivan")
    page = ivan.open(client)
    ivan.composer.fill("недописане")
    page.route("**/assets/trail-*.js", lambda route: route.abort())
    ivan.message("слід").click(button="right")
    page.get_by_role("menuitem", name="Шлях повідомлення").click()
    page.get_by_test_id("notice").get_by_role("button", name="Оновити").click()
    expect(ivan.composer).to_have_value("недописане")
