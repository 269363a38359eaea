"""Stored documents: what is written by hand is what the types say, whatever the values."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from pydantic_core import to_json

from inbox.documents import (
    commit_document,
    commit_of,
    message_document,
    message_of,
    state_document,
    state_of,
)
from inbox.domain import COMMIT, MESSAGE, STATE, Commit, Draft, Message, MessageCame, State

STATES = st.builds(State, messages=st.just({}))
# Neither limit is about the documents: both count seconds, of which a busy machine has few.
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def plain(value: object) -> Any:
    """As JSON has it: lists for tuples, words for members of enumerations."""
    return json.loads(to_json(value, inf_nan_mode="strings"))


def sparse(general: dict[str, Any]) -> dict[str, Any]:
    """Without the empty ones of what few documents have: those are not stored."""
    few = {"buttons", "refused", "replaced_by", "template", "is_reaction", "is_recalled", "signs"}
    few |= {"withdrawn_at", "elsewhere", "parked_echoes", "parked_deletions", "is_shut"}
    few |= {"late_shut_at", "shared_link"}
    nothing: tuple[object, ...] = (None, (), [], False)
    return {name: deeper(value) for name, value in general.items() if value not in nothing or name not in few}


def deeper(value: object) -> object:
    """The same of what a message carries: also inside what waits for one."""
    if isinstance(value, dict):
        return {name: one for name, one in value.items() if name != "shared_link" or one is not None} | {
            name: deeper(one) for name, one in value.items() if isinstance(one, dict | tuple | list)
        }
    return [deeper(one) for one in value] if isinstance(value, tuple | list) else value


@UNHURRIED
@given(st.from_type(Message))
def test_a_message_is_stored_as_its_type_says(message: Message) -> None:
    document = message_document(message)
    general = MESSAGE.dump_python(message)
    assert plain(document) == plain({"_id": general.pop("id"), **sparse(general)})
    assert message_of(document) == message


@UNHURRIED
@given(STATES)
def test_a_conversation_is_stored_as_its_type_says(state: State) -> None:
    document = state_document(state)
    general = STATE.dump_python(state, exclude={"messages"})
    more = {"_id": general.pop("id"), "box": state.box, "unanswered": state.is_unanswered}
    assert plain(document) == plain(sparse(general) | more)
    assert state_of(document) == state


@UNHURRIED
@given(st.from_type(Commit), st.from_type(MessageCame))
def test_a_commit_is_stored_as_its_type_says(commit: Commit, came: MessageCame) -> None:
    for one in (commit, replace(commit, events=(came,))):
        document = commit_document(one)
        assert deeper(plain(document)) == deeper(plain(COMMIT.dump_python(one)))
        assert commit_of(document) == one


@UNHURRIED
@given(STATES)
def test_a_draft_nothing_happened_to_is_the_conversation(state: State) -> None:
    assert Draft(state).state() == state
