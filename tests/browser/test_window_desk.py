"""Operators at the same chats: taking, handing over, closing, presence, the guard, notes, doubtful sends."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from msgkit.testing.browser import ClientPhone, Operator, keep_picture

pytestmark = pytest.mark.browser

LogIn = Callable[[str], Operator]


def test_take_hand_over_close_and_undo(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"допоможіть {client.id}")
    olena, ivan = operator("olena"), operator("ivan")
    page = olena.open(client)
    ivan.open(client)
    olena.page.get_by_test_id("main-action").filter(has_text="Взяти собі").click()
    ivan.page.get_by_text("Відповідає Олена").wait_for()

    olena.choose("Передати…")
    page.get_by_test_id("person").filter(has_text="Іван").click()
    ivan.page.get_by_text("Відповідаєте ви").wait_for()
    ivan.page.get_by_test_id("list-mine").click()
    ivan.page.get_by_test_id("chat-row").filter(has_text=client.id).wait_for()

    ivan.choose("В очікування")
    ivan.page.get_by_test_id("notice").filter(has_text="в очікування").wait_for()
    ivan.choose("Завершити")
    page.get_by_text("Чат завершено: Іван").wait_for()
    ivan.page.get_by_test_id("notice").get_by_role("button", name="Скасувати").click()
    ivan.page.get_by_test_id("list-waiting").click()
    ivan.page.get_by_test_id("chat-row").filter(has_text=client.id).wait_for()
    ivan.choose("Відпустити")
    expect(ivan.page.get_by_test_id("main-action")).to_have_text("Взяти собі")


def test_who_looks_who_types_and_who_was_quicker(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"є час завтра? {client.id}")
    olena, ivan = operator("olena"), operator("ivan")
    olena.open(client)
    ivan.open(client)
    expect(olena.page.get_by_test_id("viewers")).to_have_attribute("aria-label", "Зараз у чаті: Іван")
    ivan.composer.press_sequentially("Так, є")
    expect(olena.page.get_by_test_id("typing")).to_have_text("Іван друкує")
    expect(olena.page.get_by_test_id("chat-row").filter(has_text="Іван друкує")).to_have_count(1)
    keep_picture(olena.page, "presence")

    olena.composer.fill("Ні, немає")
    ivan.composer.press("Enter")
    olena.message("Так, є").wait_for()
    expect(olena.page.get_by_test_id("typing")).to_have_text("")
    olena.composer.press("Enter")
    guard = olena.page.get_by_test_id("collision")
    expect(guard).to_contain_text("Щойно відповіли: Іван")
    expect(guard).to_contain_text("Так, є")
    keep_picture(olena.page, "guard")
    olena.page.get_by_role("button", name="Повернути в чернетку").click()
    expect(olena.composer).to_have_value("Ні, немає")
    assert client.answers() == ["Так, є"]
    olena.composer.fill("Підтверджую")
    olena.composer.press("Enter")
    expect(olena.message("Підтверджую")).to_have_attribute("data-state", "sent")
    ivan.page.goto("about:blank")
    expect(olena.page.get_by_test_id("viewers")).to_have_count(0)


def test_a_note_stays_inside(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"знижка? {client.id}")
    olena, ivan = operator("olena"), operator("ivan")
    olena.open(client)
    ivan.open(client)
    olena.page.get_by_test_id("note-mode").click()
    olena.composer.fill("погоджено з директором")
    olena.composer.press("Enter")
    expect(ivan.message("погоджено з директором")).to_have_attribute("data-direction", "note")
    expect(olena.page.get_by_test_id("composer")).to_have_attribute("data-mode", "answer")
    assert client.got() == []


def test_a_doubtful_send_is_decided_and_a_failed_one_repeated(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"питання {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    client.faults({"kind": "accept_then_drop", "method": "sendMessage", "client": client.id, "count": 1})
    olena.composer.fill("може, дійшло")
    olena.composer.press("Enter")
    page.get_by_test_id("unknown").get_by_role("button", name="Вважати ненадісланим").click()
    page.get_by_test_id("failed").get_by_role("button", name="Повторити").click()
    expect(olena.message("може, дійшло")).to_have_attribute("data-state", "sent")
    assert client.answers() == ["може, дійшло"] * 2, "the operator chose to send it again"

    olena.message("може, дійшло").click(button="right")
    page.get_by_role("menuitem", name="Шлях повідомлення").click()
    expect(page.get_by_test_id("trail")).to_contain_text("Позначено як не надіслане")
    keep_picture(page, "trail")


def test_an_answer_quotes_and_unread_from_here_leaves_the_chat(operator: LogIn, client: ClientPhone) -> None:
    client.do("messages", text=f"один {client.id}")
    olena = operator("olena")
    page = olena.open(client)
    client.do("messages", text=f"два {client.id}")
    olena.message("два").click(button="right")
    page.get_by_role("menuitem", name="Позначити непрочитаним звідси").click()
    row = page.get_by_test_id("chat-row").filter(has_text=client.id)
    expect(row).to_have_attribute("data-unread", "1")
    expect(page.get_by_test_id("dialogue")).to_have_attribute("data-id", "")

    row.click()
    olena.message("один").click(button="right")
    page.get_by_role("menuitem", name="Відповісти").click()
    olena.composer.fill("на перше")
    olena.composer.press("Enter")
    expect(olena.message("на перше")).to_have_attribute("data-state", "sent")
    assert client.got()[-1]["reply_to"]
