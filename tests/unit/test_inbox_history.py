"""Messages of the time before the account was connected, and what changes a contact without a message."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from inbox_talk import (
    CONVERSATION,
    NOON,
    OLENA,
    Talk,
    came,
    card_changed,
    echoed,
    photo,
    recalled,
    reply,
    settled,
    withdrawn,
)

from inbox.domain import Door, Messenger, Refusal, Retry, SetStatus, message_view, row_view, unread
from inbox.relay import HISTORY_TOLD, change_of, step_of
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import AuthorKind, Box, Direction, Handler, MessageState, Status

LONG_AGO = NOON - timedelta(days=30)


def test_a_history_lies_among_the_finished_in_its_own_order() -> None:
    talk = Talk(Door(bot_enabled=True))
    numbers = list(range(20))
    random.Random(7).shuffle(numbers)
    for number in numbers:
        side = Direction.IN if number % 2 else Direction.OUT
        talk.does(
            recalled(str(number), f"рядок {number}", LONG_AGO + timedelta(minutes=number), direction=side)
        )
    state = talk.state
    assert [one.body.text for one in talk.dialogue] == [f"рядок {number}" for number in range(20)]
    assert (state.box, state.in_seq, state.request, unread(state, 0)) == (Box.DONE, 0, None, 0)
    assert state.activity_at == LONG_AGO + timedelta(minutes=19)
    row = ConversationRow.model_validate(row_view(state, "WhatsApp"))
    assert row.last_message is not None
    assert (row.last_message.text, row.last_message.at) == ("рядок 19", state.activity_at)
    authors = {one.author.name for one in talk.dialogue if one.direction is Direction.OUT}
    assert authors == {"З месенджера"}
    for message in talk.dialogue:
        MessageView.model_validate(message_view(message))


def test_the_first_live_message_opens_a_request_behind_the_history() -> None:
    talk = Talk()
    talk.does(recalled("800"))
    talk.does(came())
    state = talk.state
    assert (state.box, state.in_seq, unread(state, 0), state.n) == (Box.NEW, 1, 1, 2)
    assert [one.body.text for one in talk.dialogue] == ["Колись", "Добрий день"]
    row, activity_at = state.last_message, state.activity_at
    talk.does(recalled("801", "Ще давніше"))
    assert (talk.state.last_message, talk.state.activity_at) == (row, activity_at)
    assert (talk.state.status, unread(talk.state, 0)) == (Status.OPEN, 1)


def test_what_came_live_is_not_recalled_and_what_was_recalled_gives_way_to_news() -> None:
    talk = Talk()
    talk.does(came("1"))
    assert talk.does(recalled("1")) == ()
    talk.does(echoed(AuthorKind.OPERATOR, "900"))
    assert talk.does(recalled("900", direction=Direction.OUT)) == ()
    talk.does(recalled("2"))
    assert talk.does(recalled("2")) == ()
    assert talk.state.in_seq == 1
    talk.does(came("2"))
    assert (talk.state.in_seq, talk.state.messages[inbound_message_id(CONVERSATION, "2")].in_seq) == (2, 2)
    assert talk.does(recalled("2")) == ()


def test_files_follow_their_message_and_settle() -> None:
    talk = Talk()
    talk.does(recalled("1", "підпис"))
    again = recalled("1", content=photo(words="підпис"))
    talk.does(again)
    assert talk.does(again) == ()
    (message,) = talk.dialogue
    assert (message.body.kind, message.body.text, len(message.body.attachments)) == ("image", "підпис", 1)
    talk.does(settled())
    assert talk.dialogue[0].body.attachments[0].state == "ready"


def test_a_history_is_not_answered_to_again_and_stays_where_people_put_the_chat() -> None:
    talk = Talk()
    talk.does(recalled("1", direction=Direction.OUT, state=MessageState.FAILED))
    assert talk.refused(Retry(talk.dialogue[0].id, OLENA)).code == "not_an_answer"
    talk.does(SetStatus(Status.OPEN, OLENA))
    talk.does(recalled("2"))
    assert talk.state.status is Status.OPEN
    assert not isinstance(talk.does(reply()), Refusal)
    assert talk.state.box is Box.ACTIVE


def test_a_great_history_is_told_in_part_and_its_row_whole() -> None:
    talk = Talk()
    for number in range(HISTORY_TOLD + 50):
        talk.does(recalled(str(number), at=LONG_AGO + timedelta(minutes=number)))
    step = step_of(talk.commits[-1], talk.state)
    every = {one.id for one in talk.dialogue}
    told = change_of(type(step)(step.commit, step.state, every, set()), None, Messenger())
    assert told is not None
    assert told.count(b'"message.created"') == HISTORY_TOLD
    assert talk.dialogue[-1].id.encode() in told
    assert talk.dialogue[0].id.encode() not in told


def test_what_was_taken_back_before_it_is_recalled_is_shown_without_its_words() -> None:
    talk = Talk()
    talk.does(withdrawn("1"))
    talk.does(recalled("1"))
    (message,) = talk.dialogue
    assert (message.withdrawn_at is not None, message_view(message)["text"]) == (True, "")
    assert talk.state.parked_deletions == ()


# ------------------------------------------------------------ the card


def test_a_new_number_changes_the_card_and_is_said_once() -> None:
    talk = Talk()
    talk.does(came())
    moved = card_changed(phone="+380679876543", previous_phone="+380501234567", is_new_number=True)
    before = talk.state.activity_at
    talk.does(moved)
    lines = [one.body.text for one in talk.dialogue if one.direction is Direction.SYSTEM]
    assert lines == ["Клієнт змінив номер: +380501234567 → +380679876543"]
    contact = row_view(talk.state, "")["contact"]
    assert (contact["phone"], contact["name"], contact["username"]) == ("+380679876543", "Оля", "olya")
    assert (talk.state.activity_at, talk.state.in_seq) == (before, 1)
    # A profile knows no number, and takes none back; a client who hides the new one does.
    talk.does(card_changed("k2", name="Ольга", phone=None))
    assert (talk.state.contact.phone, talk.state.contact.name) == ("+380679876543", "Ольга")  # type: ignore[union-attr]
    assert talk.does(card_changed("k3", name="Ольга")) == ()
    talk.does(card_changed("k4", phone=None, is_new_number=True))
    assert talk.state.contact.phone is None  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"phone": "+380679876543"}, "Клієнт змінив номер: тепер +380679876543"),
        ({"previous_phone": "+380501234567"}, "Клієнт змінив номер"),
    ],
)
def test_the_line_says_what_is_known(fields: dict[str, str], words: str) -> None:
    talk = Talk()
    talk.does(came())
    talk.does(card_changed(is_new_number=True, **fields))
    assert talk.dialogue[-1].body.text == words


def test_nothing_is_made_for_a_contact_without_a_conversation() -> None:
    assert Talk().does(card_changed(phone="+380679876543", is_new_number=True)) == ()


# ------------------------------------------------------------ another party holds the thread


def test_on_standby_a_request_opens_with_people_although_the_bot_is_on() -> None:
    talk = Talk(Door(bot_enabled=True))
    opened, _ = talk.done(came(is_standby=True))
    assert (talk.state.handler, opened.why) == (Handler.OPERATOR, "standby")
    other = Talk(Door(bot_enabled=False))
    opened, _ = other.done(came(is_standby=True))
    assert (other.state.handler, opened.why) == (Handler.OPERATOR, None)


def test_on_standby_the_bot_falls_silent_in_a_dialogue_it_has() -> None:
    talk = Talk(Door(bot_enabled=True))
    talk.does(came("1"))
    assert talk.state.handler is Handler.BOT
    taken, line, _ = talk.done(came("2", is_standby=True))
    assert (talk.state.handler, taken.why, talk.state.n) == (Handler.OPERATOR, "standby", 3)
    assert line.text == "Бот мовчить: у месенджері відповідає хтось інший"
    assert len(talk.done(came("3", is_standby=True))) == 1
