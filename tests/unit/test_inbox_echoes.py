"""What was said to the client without an order of ours: a welcome, and what people type elsewhere."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final

from inbox_talk import (
    CONVERSATION,
    IVAN,
    NOON,
    OLENA,
    Talk,
    came,
    echoed,
    edited,
    photo,
    reply,
    reported,
    settled,
)

from inbox.domain import (
    AnswerDeleted,
    Author,
    ContactBlocked,
    DeleteAnswer,
    Door,
    EchoParked,
    Messenger,
    PostReply,
    Retry,
    ReturnToBot,
    SetStatus,
    TakenOver,
    changed_ids,
    fold,
    message_view,
    reply_message_id,
    row_view,
    unread,
)
from inbox.relay import change_of, step_of
from inbox.trail import trail_of
from msgkit.contracts.events import OutboundButton
from msgkit.contracts.ids import attachment_id, inbound_message_id
from msgkit.contracts.words import AuthorKind, Box, MessageState, Status

ELSEWHERE: Final = AuthorKind.OPERATOR
WELCOME: Final = AuthorKind.BOT
WITH_BOT = Door(bot_enabled=True)


def said(talk: Talk) -> list[str]:
    return [message.body.text for message in talk.dialogue]


def bot_says(words: str, key: str = "bot-key-1") -> PostReply:
    return PostReply(author=Author(AuthorKind.BOT, "bot", None), client_msg_id=key, text=words)


# ---------------------------------------------------------------- typed by a person elsewhere


def test_a_persons_echo_is_an_answer_of_somebody_of_ours() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(ELSEWHERE, words="Пишу з телефону"))
    message = talk.dialogue[-1]
    view = message_view(message)
    assert (view["direction"], view["state"], view["provider_id"]) == ("out", "sent", "900")
    assert view["author"] == {"kind": "operator", "id": None, "name": "З месенджера"}
    assert (view["late"], view["client_msg_id"], view["n"]) == (False, None, 2)
    row = row_view(talk.state, "Viber")
    assert (row["box"], row["assignee"], row["last_message"]["state"]) == ("active", None, "sent")
    assert unread(talk.state, 0) == 0


def test_an_echo_shows_once() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(ELSEWHERE))
    assert talk.does(echoed(ELSEWHERE)) == ()
    answer = reply()
    talk.does(answer)
    order = talk.dialogue[-1].id
    talk.does(reported(order, MessageState.SENT, provider_ids=["901"]))
    # The echo of what we ordered ourselves, if a connector lets one through.
    assert talk.does(echoed(ELSEWHERE, "901")) == ()
    assert said(talk) == ["Добрий день", "Вітаємо!", "Вітаю"]


def test_a_persons_echo_silences_the_bot_and_calls_back_what_is_queued() -> None:
    talk = Talk(WITH_BOT)
    talk.does(came())
    talk.does(bot_says("Зачекайте"))
    assert talk.state.box is Box.BOT
    queued = talk.state.bot_queued
    decision = talk.does(echoed(ELSEWHERE, words="Я тут"))
    assert isinstance(decision, tuple)
    (taken,) = [event for event in decision if isinstance(event, TakenOver)]
    assert (taken.by, taken.cancelled) == (None, queued)
    assert (talk.state.handler, talk.state.assignee, talk.state.bot_queued) == ("operator", None, ())
    assert said(talk)[-2:] == ["Замість бота відповідає людина в месенджері", "Я тут"]
    assert [message.n for message in talk.dialogue] == [1, 2, 3, 4]


def test_a_persons_echo_opens_a_closed_chat_with_people_so_that_no_bot_talks_over_them() -> None:
    talk = Talk(WITH_BOT)
    talk.does(came())
    talk.does(SetStatus(Status.CLOSED, OLENA))
    first = talk.state.request
    talk.does(echoed(ELSEWHERE, words="Дякуємо за візит"))
    assert talk.state.request is not None
    assert first is not None
    assert (talk.state.request.id != first.id, talk.state.status, talk.state.handler) == (
        True,
        "open",
        "operator",
    )
    talk.does(came("2", "І вам"))
    assert (talk.state.handler, talk.state.box) == ("operator", Box.ACTIVE)


def test_a_persons_echo_may_be_the_first_message_of_all() -> None:
    talk = Talk()
    talk.does(echoed(ELSEWHERE))
    row = row_view(talk.state, "WhatsApp")
    assert (row["title"], row["box"], row["request"]["number"]) == ("Оля", "active", 1)


def test_what_the_client_wrote_after_it_stays_unread() -> None:
    talk = Talk()
    talk.does(came("1"))
    talk.does(came("2", sent_at=NOON + timedelta(minutes=5)))
    talk.does(echoed(ELSEWHERE, sent_at=NOON + timedelta(minutes=2)))
    assert unread(talk.state, 0) == 2
    assert talk.state.handler == "operator"
    talk.does(echoed(ELSEWHERE, "901", sent_at=NOON + timedelta(minutes=6)))
    assert unread(talk.state, 0) == 0


def test_it_stands_at_the_messengers_time_but_not_before_an_answer_of_ours() -> None:
    talk = Talk()
    talk.now = NOON + timedelta(hours=1)
    talk.does(came("1", sent_at=NOON + timedelta(minutes=50)))
    talk.does(echoed(ELSEWHERE, "900", "раніше", sent_at=NOON + timedelta(minutes=40), recorded_at=talk.now))
    assert said(talk) == ["раніше", "Добрий день"]
    assert talk.dialogue[0].late
    talk.does(reply(words="відповідь"))
    talk.does(echoed(ELSEWHERE, "901", "пізно", sent_at=NOON))
    assert said(talk) == ["раніше", "Добрий день", "відповідь", "пізно"]


def test_an_operator_who_has_not_seen_it_is_held_back() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(ELSEWHERE))
    assert talk.refused(reply(seen_n=1)).code == "colleague_replied"
    assert isinstance(talk.does(reply(seen_n=2)), tuple)
    assert talk.refused(reply(IVAN, client_msg_id="key-ivan-1", seen_n=2)).code == "colleague_replied"


def test_it_is_neither_sent_again_nor_taken_away() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(ELSEWHERE))
    assert talk.refused(Retry(talk.answer_id, OLENA)).code == "not_failed"
    assert talk.refused(DeleteAnswer(talk.answer_id, OLENA)).code == "not_deletable"
    talk.does(reported(talk.answer_id, MessageState.READ))
    assert talk.dialogue[-1].state == "read"


def test_the_trail_of_an_edited_echo_does_not_blame_the_client() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(ELSEWHERE))
    talk.does(edited("900", "виправлено", NOON + timedelta(minutes=1)))
    details = [step.detail for step in trail_of(talk.answer_id, talk.commits).steps]
    assert details == ["Написано в самому месенджері, не у вікні.", "Змінено в месенджері."]


def test_its_file_is_awaited_and_found() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(ELSEWHERE, content=photo()))
    assert talk.dialogue[-1].body.attachments[0].state == "pending"
    talk.does(settled("900"))
    assert talk.dialogue[-1].body.attachments[0].state == "ready"


def test_it_quotes_and_is_quoted_and_edited() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(edited("900", "виправлено", NOON + timedelta(minutes=1)))
    talk.does(echoed(ELSEWHERE, reply_to_provider_id="1"))
    echo = talk.dialogue[-1]
    assert (echo.quote and echo.quote.text, echo.body.text) == ("Добрий день", "виправлено")
    talk.does(came("2", reply_to_provider_id="900"))
    quote = talk.dialogue[-1].quote
    assert (quote and quote.author, talk.state.parked_edits) == ("З месенджера", ())


def test_a_blocked_client_does_not_come_back_by_it() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    decision = talk.does(reported(talk.answer_id, MessageState.FAILED, contact_blocked=True))
    assert isinstance(decision, tuple)
    assert isinstance(decision[-1], ContactBlocked)
    talk.does(echoed(ELSEWHERE, sent_at=NOON + timedelta(hours=1)))
    assert talk.state.blocked


# ---------------------------------------------------------------- ours, but its echo was faster


def overtaken() -> Talk:
    """An answer, something of the client, and the answer's echo before its report."""
    talk = Talk()
    talk.does(came())
    talk.does(reply(words="Записали вас"))
    talk.does(came("2", "Дякую", sent_at=NOON + timedelta(seconds=2)))
    talk.does(echoed(ELSEWHERE, "901", "Записали вас", sent_at=NOON + timedelta(seconds=3)))
    return talk


def test_an_echo_that_came_before_the_report_of_our_answer_gives_way_to_it() -> None:
    talk = overtaken()
    ordered, echo = talk.answer_id, inbound_message_id(CONVERSATION, "901")
    place = talk.state.messages[ordered]
    talk.does(reported(ordered, MessageState.SENT, provider_ids=["900", "901"]))
    shown = [message for message in talk.dialogue if message.replaced_by is None]
    assert [message.body.text for message in shown] == ["Добрий день", "Записали вас", "Дякую"]
    kept = talk.state.messages[ordered]
    assert (kept.n, kept.pos_at, kept.author, kept.state) == (place.n, place.pos_at, place.author, "sent")
    view = message_view(talk.state.messages[echo])
    assert (view["deleted"], view["replaced_by"], view["text"]) == (True, ordered, "")
    row = row_view(talk.state, "Facebook")
    assert (row["last_message"]["id"], row["last_message"]["state"]) == (ordered, "sent")
    # What is known of it later is of the ordered one, in the row as well.
    talk.does(reported(ordered, MessageState.READ, provider_ids=["900", "901"]))
    assert row_view(talk.state, "Facebook")["last_message"]["state"] == "read"
    assert talk.does(echoed(ELSEWHERE, "901", "Записали вас")) == ()


def test_nobody_is_held_back_by_the_echo_of_an_answer_once_it_is_known_as_ours() -> None:
    talk = overtaken()
    assert talk.refused(reply(client_msg_id="key-0002", seen_n=3)).code == "colleague_replied"
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["901"]))
    assert isinstance(talk.does(reply(client_msg_id="key-0002", seen_n=3)), tuple)


def test_a_real_answer_from_elsewhere_holds_back_whatever_else_turned_out_to_be_ours() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    talk.does(echoed(ELSEWHERE, "902", "Це я, з телефону"))
    talk.does(echoed(ELSEWHERE, "901"))
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["901"]))
    assert talk.refused(reply(client_msg_id="key-0002", seen_n=2)).code == "colleague_replied"
    assert isinstance(talk.does(reply(client_msg_id="key-0002", seen_n=3)), tuple)


def test_who_quotes_the_echo_quotes_the_answer() -> None:
    talk = overtaken()
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["901"]))
    talk.does(came("3", reply_to_provider_id="901"))
    message = talk.state.messages[inbound_message_id(CONVERSATION, "3")]
    assert (message.reply_to, message.quote and message.quote.author) == (talk.answer_id, OLENA.name)
    # A window that has not heard of it yet names the echo.
    talk.does(reply(client_msg_id="key-0002", reply_to=inbound_message_id(CONVERSATION, "901")))
    ours = talk.state.messages[reply_message_id(CONVERSATION, OLENA.id, "key-0002")]
    assert (ours.reply_to, ours.reply_to_provider_id) == (talk.answer_id, "901")


def test_the_ids_of_a_report_that_is_no_news_are_known_so_its_echo_shows_once() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    talk.does(reported(talk.answer_id, MessageState.DELIVERED))
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["901"]))
    assert talk.dialogue[-1].state == "delivered"
    assert talk.does(echoed(ELSEWHERE, "901")) == ()


def test_what_was_replaced_is_told_as_an_update_and_never_as_a_new_message() -> None:
    talk = overtaken()
    ordered, echo = talk.answer_id, inbound_message_id(CONVERSATION, "901")
    talk.does(reported(ordered, MessageState.SENT, provider_ids=["901"]))
    told = change_of(step_of(talk.commits[-1], talk.state), None, Messenger())
    assert told is not None
    kinds = [(event["type"], event["data"]["id"]) for event in json.loads(told)["events"]]
    assert kinds[:2] == [("message.updated", ordered), ("message.updated", echo)]
    # An echo replaced in the commit that brought it was never there.
    both = replace(talk.commits[-1], events=talk.commits[-2].events + talk.commits[-1].events)
    told = change_of(step_of(both, talk.state), None, Messenger())
    assert told is not None
    assert [event["type"] for event in json.loads(told)["events"]] == [
        "message.updated",
        "conversation.upserted",
    ]


# ---------------------------------------------------------------- said by the connector


def test_a_welcome_alone_opens_nothing_and_is_seen_by_nobody() -> None:
    talk = Talk(WITH_BOT)
    decision = talk.does(echoed(WELCOME))
    assert isinstance(decision, tuple)
    assert [type(event) for event in decision] == [EchoParked]
    assert (talk.state.n, talk.state.box, talk.state.request, talk.dialogue) == (0, None, None, [])
    assert talk.refused(reply()).code == "not_found"


def test_a_welcome_stands_before_the_message_that_brings_it_and_belongs_to_its_request() -> None:
    talk = Talk(WITH_BOT)
    buttons = [
        [OutboundButton(text="Ціни", action="reply", value="prices")],
        [OutboundButton(text="Сайт", action="url", value="https://mavka.example")],
    ]
    talk.does(echoed(WELCOME, "welcome:1", sent_at=NOON - timedelta(hours=1), buttons=buttons))
    talk.does(came())
    welcome, message = talk.dialogue
    assert (welcome.body.text, welcome.n, message.n) == ("Вітаємо!", 1, 2)
    assert (welcome.pos_at, welcome.late) == (NOON - timedelta(hours=1), False)
    assert talk.state.request is not None
    assert welcome.request_id == message.request_id == talk.state.request.id
    view = message_view(welcome)
    assert view["author"] == {"kind": "bot", "id": None, "name": None}
    assert view["buttons"] == [
        [{"text": "Ціни", "url": None}],
        [{"text": "Сайт", "url": "https://mavka.example"}],
    ]
    assert (talk.state.in_seq, talk.state.handler, talk.state.request.first_reply_at) == (1, "bot", None)
    assert talk.state.parked_echoes == ()
    assert talk.does(echoed(WELCOME, "welcome:1")) == ()


def test_a_welcome_changes_neither_unread_nor_handler_nor_status() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(SetStatus(Status.WAITING, OLENA))
    before = talk.state
    talk.does(echoed(WELCOME))
    after = talk.state
    assert (after.n, after.last_message and after.last_message.text) == (before.n + 1, "Вітаємо!")
    for name in ("status", "handler", "assignee", "in_seq", "answered_seq", "request", "last_answer_n"):
        assert getattr(after, name) == getattr(before, name), name
    # Nobody must read an automatic greeting before answering.
    assert isinstance(talk.does(reply(seen_n=1)), tuple)


def test_a_welcome_in_a_closed_chat_waits_for_the_next_request() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(SetStatus(Status.CLOSED, OLENA))
    count = talk.state.n
    talk.does(echoed(WELCOME, sent_at=talk.now))
    assert (talk.state.status, talk.state.n) == ("closed", count)
    talk.does(came("2", "Це знову я", sent_at=talk.now))
    assert said(talk)[-2:] == ["Вітаємо!", "Це знову я"]
    assert len({message.request_id for message in talk.dialogue[-2:]}) == 1


def test_a_waiting_welcome_is_shown_before_an_answer_too() -> None:
    later = NOON + timedelta(minutes=1)
    for answer in (reply(words="Пишу першою"), echoed(ELSEWHERE, "901", "Пишу першою", sent_at=later)):
        talk = Talk()
        talk.does(came())
        talk.does(SetStatus(Status.CLOSED, OLENA))
        talk.does(echoed(WELCOME, "900", sent_at=talk.now))
        talk.does(answer)
        assert said(talk)[-2:] == ["Вітаємо!", "Пишу першою"]
        assert [message.n for message in talk.dialogue] == [1, 2, 3, 4]


def test_waiting_welcomes_stand_in_their_order_and_only_so_many_are_kept() -> None:
    talk = Talk()
    for number in range(12, 0, -1):
        talk.does(echoed(WELCOME, f"w{number}", f"{number}", sent_at=NOON + timedelta(seconds=number)))
    talk.now = NOON + timedelta(minutes=1)
    talk.does(came(sent_at=NOON))
    assert said(talk) == [str(number) for number in range(1, 11)] + ["Добрий день"]


def test_a_file_of_a_waiting_echo_is_found_meanwhile() -> None:
    talk = Talk()
    talk.does(echoed(WELCOME, content=photo()))
    talk.does(settled("900"))
    assert talk.does(settled("900", reason="gone", stored=None)) == ()
    talk.does(came())
    file = talk.dialogue[0].body.attachments[0]
    message_id = inbound_message_id(CONVERSATION, "900")
    assert (file.id, file.state, file.key) == (attachment_id(message_id, "photo-1"), "ready", "objects/1")


def test_a_waiting_welcome_is_edited_before_it_is_seen() -> None:
    talk = Talk()
    talk.does(echoed(WELCOME))
    talk.does(edited("900", "Вітаємо в салоні!", NOON))
    talk.does(came())
    assert said(talk)[0] == "Вітаємо в салоні!"
    assert (talk.state.parked_edits, talk.state.parked_echoes) == ((), ())


def test_the_log_gives_the_same_again() -> None:
    talk = Talk(WITH_BOT)
    steps: list[Any] = [
        echoed(WELCOME), came(), bot_says("Зачекайте"), echoed(ELSEWHERE, "901"), ReturnToBot(OLENA),
        echoed(WELCOME, "902"), SetStatus(Status.CLOSED, OLENA), echoed(WELCOME, "903"), reply(),
        echoed(ELSEWHERE, "904"),
    ]  # fmt: skip
    for step in steps:
        talk.does(step)
    talk.does(reported(talk.dialogue[-2].id, MessageState.SENT, provider_ids=["904"]))
    assert talk.dialogue[-1].replaced_by == talk.dialogue[-2].id
    again = Talk().state
    for commit in talk.commits:
        assert not any(isinstance(event, AnswerDeleted) for event in commit.events)
        assert changed_ids(commit.events) <= again.messages.keys()
        again = fold(again, commit)
    assert again == talk.state
