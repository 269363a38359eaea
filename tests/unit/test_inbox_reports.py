"""Reports on an answer: in any order, early and twice, they end where they should."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from inbox_talk import OLENA, Talk, came, reply, reported

from inbox.domain import (
    DeleteAnswer,
    DeliveryChanged,
    Message,
    Resolve,
    Retry,
    dedupe_id,
    message_view,
    order_id,
    row_view,
)
from inbox.trail import trail_of
from msgkit.contracts.events import DeliveryReported, Failure
from msgkit.contracts.words import FailureCode, MessageState

FAILURE = Failure(code=FailureCode.REJECTED, text="Viber не показав повідомлення.")
ORDERED = list(MessageState)
TOP_DOWN = ("read", "delivered", "late", "sent", "unknown", "failed", "sending")
"""What may be said of an answer; the first one that was said at all is the truth."""


def asked(talk: Talk | None = None) -> Talk:
    talk = talk or Talk()
    talk.does(came())
    talk.does(reply())
    return talk


def about(order: str, word: str, **more: Any) -> DeliveryReported:
    if word == "late":
        return reported(order, MessageState.FAILED, failure=FAILURE, is_late_refusal=True, **more)
    return reported(order, MessageState(word), **more)


def answer_of(talk: Talk) -> Message:
    return talk.state.messages[talk.answer_id]


@given(st.lists(st.sampled_from(TOP_DOWN), min_size=1, max_size=12))
def test_reports_in_any_order_end_at_the_top(words: list[str]) -> None:
    talk = asked()
    for word in words:
        talk.does(about(talk.answer_id, word, provider_ids=["77"]))
    truth = next(word for word in TOP_DOWN if word in words)
    message = answer_of(talk)
    assert message.state == ("failed" if truth == "late" else truth)
    assert (message.failure is not None) is (truth == "late")
    last = row_view(talk.state, "Viber")["last_message"]
    assert last["state"] == message_view(message)["state"] == message.state.value


@given(st.permutations(["sent", "delivered", "read"]), st.integers(0, 2))
def test_a_read_answer_is_read_in_its_row_whatever_came_when(words: list[str], again: int) -> None:
    talk = asked()
    for word in [*words, words[again]]:
        talk.does(about(talk.answer_id, word))
    assert row_view(talk.state, "Viber")["last_message"]["state"] == "read"


def test_a_late_refusal_undoes_sent_and_no_repeat_of_sent_undoes_it() -> None:
    talk = asked()
    talk.does(about(talk.answer_id, "sent", provider_ids=["77"]))
    talk.does(about(talk.answer_id, "late"))
    view = message_view(answer_of(talk))
    assert (view["state"], view["failure"]) == ("failed", {"code": "rejected", "text": FAILURE.text})
    assert talk.does(about(talk.answer_id, "sent", provider_ids=["77"])) == ()
    assert answer_of(talk).state == "failed"
    talk.does(about(talk.answer_id, "delivered"))
    assert message_view(answer_of(talk))["state"] == "delivered"
    assert message_view(answer_of(talk))["failure"] is None


@pytest.mark.parametrize("word", ["delivered", "read"])
def test_a_late_refusal_never_touches_what_the_phone_confirmed(word: str) -> None:
    talk = asked()
    talk.does(about(talk.answer_id, word))
    assert talk.does(about(talk.answer_id, "late")) == ()
    assert answer_of(talk).state == word


def test_a_late_refusal_has_a_key_of_its_own() -> None:
    keys = {word: dedupe_id(about("m1", word)) for word in TOP_DOWN}
    assert keys["late"] == "status:m1:4.5"
    assert (keys["sent"], keys["failed"]) == ("status:m1:4", "status:m1:2")
    assert len(set(keys.values())) == len(keys)
    # What is no refusal is not one, whatever else the report says.
    assert dedupe_id(reported("m1", MessageState.SENT, is_late_refusal=True)) == "status:m1:4"


def test_what_was_refused_late_is_sent_again_as_any_other() -> None:
    talk = asked()
    talk.does(about(talk.answer_id, "sent"))
    talk.does(about(talk.answer_id, "late"))
    talk.does(Retry(talk.answer_id, OLENA))
    assert (answer_of(talk).state, answer_of(talk).attempt, answer_of(talk).failure) == ("queued", 2, None)
    second = order_id(talk.answer_id, 2)
    # A repeat about the first attempt neither lifts the second one nor calls it back.
    assert talk.does(about(talk.answer_id, "sent")) == ()
    talk.does(about(second, "sent"))
    assert answer_of(talk).state == "sent"
    talk.does(about(second, "late"))
    assert (answer_of(talk).state, answer_of(talk).refused) == ("failed", (1, 2))
    talk.does(about(talk.answer_id, "read"))
    assert answer_of(talk).state == "read"


def test_a_refusal_of_an_earlier_attempt_is_remembered_and_changes_nothing() -> None:
    talk = asked()
    talk.does(about(talk.answer_id, "unknown"))
    talk.does(Resolve(talk.answer_id, "resend", OLENA))
    talk.does(about(talk.answer_id, "late"))
    assert (answer_of(talk).state, answer_of(talk).attempt) == ("queued", 2)
    # So the messenger's "taken", which comes even later, is no news.
    assert talk.does(about(talk.answer_id, "sent")) == ()
    assert answer_of(talk).state == "queued"


def test_what_was_refused_late_can_be_taken_away() -> None:
    talk = asked()
    talk.does(about(talk.answer_id, "late"))
    talk.does(DeleteAnswer(talk.answer_id, OLENA))
    assert message_view(answer_of(talk))["deleted"]


def test_a_late_refusal_may_say_that_the_client_blocked_us() -> None:
    talk = asked()
    talk.does(about(talk.answer_id, "sent"))
    talk.does(about(talk.answer_id, "late", contact_blocked=True))
    assert talk.state.blocked
    assert answer_of(talk).state == "failed"


def test_the_trail_says_that_the_messenger_had_taken_it() -> None:
    talk = asked()
    talk.does(about(talk.answer_id, "sent"))
    talk.does(about(talk.answer_id, "late"))
    steps = trail_of(talk.answer_id, talk.commits).steps
    assert [step.state for step in steps] == ["queued", "sent", "failed"]
    assert steps[-1].detail is not None
    assert steps[-1].detail.startswith("Не доставлено: месенджер прийняв")
    assert FAILURE.text in steps[-1].detail
    assert isinstance(talk.commits[-1].events[0], DeliveryChanged)
