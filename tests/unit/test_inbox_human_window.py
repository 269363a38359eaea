"""Where a messenger lets people answer longer than bots: who may answer until when, to the second."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from inbox_talk import NOON, OLENA, Talk, came, reply, reported

from inbox.documents import state_document, state_of
from inbox.domain import Author, Door, Messenger, PostReply, Refusal, Retry, window_of
from inbox.orders import orders_of
from msgkit.contracts.events import Failure, SendMessage
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState

DAY, WEEK = timedelta(hours=24), timedelta(days=7)
DIRECT = Messenger(24, human_reply_window_hours=168, title="Instagram Direct")
GRANTED = Door(messenger=DIRECT, human_agent=True)
TOO_LATE = Failure(code=FailureCode.WINDOW_CLOSED, text="Час для відповіді минув.")
PERSON, BOT, MACHINE = AuthorKind.OPERATOR, AuthorKind.BOT, AuthorKind.AUTORESPONDER


def talk_of(door: Door = GRANTED) -> Talk:
    talk = Talk(door)
    talk.does(came())
    return talk


def by(author: AuthorKind, key: str = "key-0001", **more: Any) -> PostReply:
    name = "Олена" if author is PERSON else None
    return replace(
        reply(client_msg_id=key, **more), author=Author(author, "u-olena" if name else "bot", name)
    )


def ordered(talk: Talk) -> SendMessage:
    return SendMessage.model_validate_json(orders_of(talk.commits[-1])[-1].body)


@pytest.mark.parametrize("seconds", [-61, -60, -59, 0, 60])
@pytest.mark.parametrize("author", [PERSON, BOT, MACHINE])
@pytest.mark.parametrize("granted", [True, False])
@pytest.mark.parametrize("border", [DAY, WEEK])
def test_who_may_answer_around_the_borders(
    seconds: int, author: AuthorKind, granted: bool, border: timedelta
) -> None:
    talk = talk_of(replace(GRANTED, human_agent=granted))
    now = NOON + border + timedelta(seconds=seconds)
    ends = WEEK if granted and author is PERSON else DAY
    may = now < NOON + ends
    assert window_of(talk.state, talk.door, now, author).open is may
    talk.now = now - timedelta(seconds=1)  # whatever is done is done a second later
    assert isinstance(talk.does(by(author)), Refusal) is not may


def test_the_row_says_how_long_people_have() -> None:
    talk = talk_of()
    late = NOON + WEEK - timedelta(seconds=30)
    for granted, until in ((True, late), (False, NOON + DAY - timedelta(seconds=30))):
        door = replace(GRANTED, human_agent=granted)
        for now in (NOON, until - timedelta(seconds=1), until):
            window = window_of(talk.state, door, now)
            assert (window.open, window.until) == (now < until, until)


def test_the_refusal_says_how_long_it_was_and_who_can_make_it_longer() -> None:
    talk = talk_of()
    talk.now = NOON + WEEK
    said = talk.refused(by(PERSON)).detail
    assert said == "Минуло 7 днів від останнього повідомлення клієнта: дочекайтеся відповіді."
    talk.door = replace(GRANTED, human_agent=False)
    assert talk.refused(by(PERSON)).detail.endswith("клієнта: дочекайтеся відповіді.")  # too late for all
    talk.now = NOON + DAY
    said = talk.refused(by(PERSON)).detail
    assert said.startswith("Минуло 24 години від останнього повідомлення клієнта: дочекайтеся відповіді. ")
    assert "Адміністратор може продовжити час до 7 днів" in said
    assert "Human Agent" in said
    talk.door, talk.now = GRANTED, NOON + DAY
    assert "оператор ще може відповісти сам" in talk.refused(by(BOT)).detail
    talk.door = Door(messenger=Messenger(24), human_agent=True)
    assert "Адміністратор" not in talk.refused(by(PERSON)).detail


def test_the_setting_gives_nothing_where_the_messenger_has_no_longer_time() -> None:
    talk = talk_of(Door(messenger=Messenger(24), human_agent=True))
    talk.now = NOON + DAY
    assert talk.refused(by(PERSON)).code == "window_closed"


def test_the_connector_is_told_when_the_client_wrote_also_of_another_attempt() -> None:
    talk = talk_of()
    talk.now = NOON + timedelta(hours=30)
    talk.does(by(PERSON))
    assert ordered(talk).client_wrote_at == NOON
    talk.does(reported(talk.answer_id, MessageState.FAILED))
    later = talk.now = NOON + timedelta(hours=31)
    talk.does(came("2", sent_at=later))
    talk.now = NOON + timedelta(hours=32)
    talk.does(Retry(talk.answer_id, OLENA))
    assert ordered(talk).client_wrote_at == later


def test_a_bots_answer_is_not_sent_again_as_a_persons() -> None:
    talk = talk_of()
    talk.does(by(BOT))
    (answer,) = (one.id for one in talk.state.messages.values() if one.author.kind is BOT)
    talk.does(reported(answer, MessageState.FAILED))
    talk.now = NOON + timedelta(hours=30)
    assert talk.refused(Retry(answer, OLENA)).code == "window_closed"
    assert not isinstance(talk.does(by(PERSON)), Refusal)


# ------------------------------------------------------------ the messenger's own word


def refuse(talk: Talk, at: datetime) -> None:
    talk.now = at
    talk.does(by(PERSON))
    refusal = reported(talk.answer_id, MessageState.FAILED, failure=TOO_LATE, happened_at=at)
    talk.does(refusal)


def test_a_late_answer_refused_closes_it_until_an_administrator_or_the_client_says_otherwise() -> None:
    talk = talk_of()
    refuse(talk, NOON + timedelta(hours=30))
    talk.now += timedelta(minutes=1)
    assert talk.refused(by(PERSON, "key-0002")).detail.startswith("Месенджер каже")
    assert state_of(state_document(talk.state)).late_shut_at == talk.state.late_shut_at
    # It was granted meanwhile; the setting went off and on again.
    talk.door = replace(GRANTED, human_agent_at=talk.now)
    assert not isinstance(talk.does(by(PERSON, "key-0003")), Refusal)
    talk.door = replace(GRANTED, human_agent_at=NOON)
    assert talk.refused(by(PERSON, "key-0004")).code == "window_closed"
    talk.does(came("2", sent_at=talk.now))
    assert "late_shut_at" not in state_document(talk.state)
    assert not isinstance(talk.does(by(PERSON, "key-0005")), Refusal)


@pytest.mark.parametrize("author", [PERSON, BOT])
def test_a_refusal_within_the_first_day_says_nothing_of_the_days_after(author: AuthorKind) -> None:
    talk = talk_of()
    talk.does(by(author))
    (answer,) = (one.id for one in talk.state.messages.values() if one.direction == "out")
    talk.does(reported(answer, MessageState.FAILED, failure=TOO_LATE))
    assert talk.refused(by(PERSON, "key-0002")).code == "window_closed"
    assert talk.refused(by(BOT, "key-0003")).code == "window_closed"
    talk.now = NOON + DAY + timedelta(minutes=1)
    assert not isinstance(talk.does(by(PERSON, "key-0004")), Refusal)


def test_a_late_refusal_is_no_word_about_a_channel_without_the_setting() -> None:
    talk = talk_of()
    refuse(talk, NOON + timedelta(hours=30))
    talk.door = replace(GRANTED, human_agent=False)
    until = NOON + DAY - timedelta(seconds=30)
    assert window_of(talk.state, talk.door, talk.now).until == until
