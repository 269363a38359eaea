"""Answers with files, and answers that did not simply arrive: sent again, decided upon, taken away."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import pytest
from inbox_talk import CONVERSATION, IVAN, NOON, OLENA, Talk, came, reply, reported

from inbox.domain import (
    AnswerOrdered,
    Command,
    DeleteAnswer,
    Door,
    Message,
    NoteWritten,
    Resolve,
    Retry,
    SetStatus,
    State,
    Upload,
    changed_ids,
    fold,
    is_behind,
    message_view,
    order_id,
    order_of,
    row_view,
)
from inbox.orders import has_orders, orders_of
from inbox.trail import trail_of
from msgkit.contracts.events import Failure
from msgkit.contracts.ids import attachment_id, inbound_message_id
from msgkit.contracts.words import FailureCode, MessageKind, MessageState, Status

FAILURE = Failure(code=FailureCode.TEMPORARY, text="Месенджер був недоступний.")


def upload(id_: str = "u1", kind: MessageKind = MessageKind.IMAGE, name: str = "прайс.jpg") -> Upload:
    return Upload(
        id=id_,
        key=f"objects/{id_}",
        thumb_key=f"objects/{id_}-thumb",
        kind=kind,
        name=name,
        mime="image/jpeg",
        size=1000,
        width=640,
        height=480,
        duration_s=None,
    )


def sent(talk: Talk) -> list[dict[str, Any]]:
    """What connectors were told, in order."""
    return [json.loads(order.body) for commit in talk.commits for order in orders_of(commit)]


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.does(came("1"))
    return talk


def answered(talk: Talk, state: MessageState, **more: Any) -> str:
    """An answer that has come so far."""
    talk.does(reply(**more))
    failure = FAILURE if state is MessageState.FAILED else None
    if state is not MessageState.QUEUED:
        talk.does(reported(talk.answer_id, state, failure=failure))
    return talk.answer_id


# ---------------------------------------------------------------- files


def test_an_answer_with_files_is_ordered_with_them(talk: Talk) -> None:
    talk.does(reply(words="", attachments=(upload("u1"), upload("u2", MessageKind.FILE, "угода.pdf"))))
    message = talk.state.messages[talk.answer_id]
    assert (message.body.kind, message.body.text) == (MessageKind.IMAGE, "")
    view = message_view(message)["attachments"]
    first = attachment_id(message.id, "u1")
    assert (view[0]["id"], view[0]["state"]) == (first, "ready")
    assert (view[0]["url"], view[0]["thumb_url"]) == (
        f"/api/v1/media/{first}/url",
        f"/api/v1/media/{first}/url?variant=thumb",
    )
    assert "objects/" not in json.dumps(message_view(message), default=str)
    order = sent(talk)[0]
    assert [(one["attachment_id"], one["key"], one["name"]) for one in order["media"]] == [
        (first, "objects/u1", "прайс.jpg"),
        (attachment_id(message.id, "u2"), "objects/u2", "угода.pdf"),
    ]
    row = row_view(talk.state, "")["last_message"]
    assert (row["text"], row["kind"], row["author"]["id"]) == ("", "image", OLENA.id)


def test_a_note_may_have_files_and_nobody_sends_them(talk: Talk) -> None:
    decision = talk.does(reply(words="", note=True, attachments=(upload(),)))
    assert isinstance(decision, tuple)
    assert isinstance(decision[0], NoteWritten)
    assert talk.dialogue[-1].body.kind is MessageKind.IMAGE
    assert not sent(talk)


def test_other_files_under_the_same_key_are_a_mistake(talk: Talk) -> None:
    talk.does(reply(attachments=(upload("u1"),)))
    assert talk.does(reply(attachments=(upload("u1"),))) == ()
    for files in ((), (upload("u2"),), (upload("u1"), upload("u2"))):
        refusal = talk.refused(reply(attachments=files))
        assert (refusal.status, refusal.code) == (422, "client_msg_id_reused")


def test_the_same_file_twice_is_a_mistake(talk: Talk) -> None:
    assert talk.refused(reply(attachments=(upload("u1"), upload("u1")))).status == 422


def test_a_quotation_of_a_photo_says_what_it_is(talk: Talk) -> None:
    talk.does(reply(words="", attachments=(upload(),)))
    photo = talk.answer_id
    talk.does(reply(words="ось воно", client_msg_id="key-0002", reply_to=photo))
    quote = talk.dialogue[-1].quote
    assert quote is not None
    assert quote.text == "Фото"


# ---------------------------------------------------------------- once more


def test_a_failed_answer_goes_out_again_behind_the_others(talk: Talk) -> None:
    target = inbound_message_id(CONVERSATION, "1")
    message_id = answered(talk, MessageState.FAILED, reply_to=target, attachments=(upload(),))
    talk.does(reply(client_msg_id="key-0002", words="друге"))
    talk.does(Retry(message_id, IVAN))
    message = talk.state.messages[message_id]
    assert (message.state, message.failure, message.attempt) == (MessageState.QUEUED, None, 2)
    first, _, again = sent(talk)
    assert (first["message_id"], first["out_seq"]) == (message_id, 1)
    assert (again["message_id"], again["out_seq"]) == (f"{message_id}.2", 3)
    same = ("text", "media", "reply_to_provider_id", "contact_key", "author_kind")
    assert {name: again[name] for name in same} == {name: first[name] for name in same}
    assert again["reply_to_provider_id"] == "1"
    assert first["event_id"] != again["event_id"]
    talk.does(reported(f"{message_id}.2", MessageState.SENT, provider_ids=["9"]))
    assert talk.state.messages[message_id].state is MessageState.SENT


def test_ids_of_orders() -> None:
    for attempt in (1, 2, 30):
        assert order_of(order_id("ab12", attempt)) == ("ab12", attempt)
    assert order_of("ab12.²") == ("ab12.²".partition(".")[0], 1)


@dataclass(frozen=True)
class LateCase:
    """A report on the first attempt while the second one waits."""

    state: MessageState
    expected: MessageState
    is_called_back: bool


@pytest.mark.parametrize(
    "case",
    [
        LateCase(MessageState.SENDING, MessageState.QUEUED, False),
        LateCase(MessageState.FAILED, MessageState.QUEUED, False),
        LateCase(MessageState.UNKNOWN, MessageState.QUEUED, False),
        LateCase(MessageState.SENT, MessageState.SENT, True),
        LateCase(MessageState.DELIVERED, MessageState.DELIVERED, True),
    ],
    ids=lambda case: case.state.value,
)
def test_a_late_report_on_an_earlier_attempt(talk: Talk, case: LateCase) -> None:
    message_id = answered(talk, MessageState.UNKNOWN)
    talk.does(Resolve(message_id, "resend", OLENA))
    talk.does(reported(message_id, case.state))
    assert talk.state.messages[message_id].state is case.expected
    called_back = [order["message_ids"] for order in sent(talk) if order["type"] == "send.cancelled.v1"]
    assert called_back == ([[f"{message_id}.2"]] if case.is_called_back else [])
    assert has_orders(talk.commits[-1].events) is (
        case.is_called_back or case.expected is MessageState.QUEUED
    )
    # What the connector then says of the one it was told to leave out changes nothing any more.
    talk.does(reported(f"{message_id}.2", MessageState.FAILED, failure=FAILURE))
    ended = case.expected if case.is_called_back else MessageState.FAILED
    assert talk.state.messages[message_id].state is ended


def test_a_block_by_a_second_attempt_is_a_line_too(talk: Talk) -> None:
    message_id = answered(talk, MessageState.QUEUED)
    talk.does(reported(message_id, MessageState.FAILED, failure=FAILURE, contact_blocked=True))
    talk.does(came("2", sent_at=talk.now))
    talk.does(Retry(message_id, OLENA))
    later = {"contact_blocked": True, "happened_at": talk.now}
    talk.does(reported(f"{message_id}.2", MessageState.FAILED, failure=FAILURE, **later))
    assert talk.state.blocked


# ---------------------------------------------------------------- fate


@dataclass(frozen=True)
class FateCase:
    action: Any
    expected: MessageState
    orders: int


@pytest.mark.parametrize(
    "case",
    [
        FateCase("sent", MessageState.SENT, 1),
        FateCase("failed", MessageState.FAILED, 1),
        FateCase("resend", MessageState.QUEUED, 2),
    ],
    ids=lambda case: case.action,
)
def test_a_person_decides_of_what_nobody_knows(talk: Talk, case: FateCase) -> None:
    message_id = answered(talk, MessageState.UNKNOWN)
    talk.does(Resolve(message_id, case.action, IVAN))
    message = talk.state.messages[message_id]
    assert (message.state, len(sent(talk))) == (case.expected, case.orders)
    assert (message.failure is not None) is (case.expected is MessageState.FAILED)
    assert talk.refused(Resolve(message_id, case.action, IVAN)).code == "not_unknown"


def test_a_receipt_proves_a_decision_wrong(talk: Talk) -> None:
    message_id = answered(talk, MessageState.UNKNOWN)
    talk.does(Resolve(message_id, "failed", OLENA))
    talk.does(reported(message_id, MessageState.DELIVERED))
    message = talk.state.messages[message_id]
    assert (message.state, message.failure) == (MessageState.DELIVERED, None)


# ---------------------------------------------------------------- taken away


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (MessageState.QUEUED, None),
        (MessageState.SENDING, "not_deletable"),
        (MessageState.FAILED, None),
        (MessageState.UNKNOWN, None),
        (MessageState.SENT, "not_deletable"),
        (MessageState.READ, "not_deletable"),
    ],
)
def test_only_what_the_client_has_not_got_is_deleted(
    talk: Talk, state: MessageState, code: str | None
) -> None:
    message_id = answered(talk, state, attachments=(upload(),))
    if code is not None:
        assert talk.refused(DeleteAnswer(message_id, OLENA)).code == code
        return
    talk.does(DeleteAnswer(message_id, OLENA))
    view = message_view(talk.state.messages[message_id])
    assert (view["deleted"], view["text"], view["attachments"]) == (True, "", [])
    assert row_view(talk.state, "")["last_message"]["text"] == "Повідомлення видалено"
    called_back = [order["message_ids"] for order in sent(talk) if order["type"] == "send.cancelled.v1"]
    assert called_back == ([[message_id]] if state is MessageState.QUEUED else [])
    assert talk.does(DeleteAnswer(message_id, OLENA)) == ()
    for command in (Retry(message_id, OLENA), Resolve(message_id, "sent", OLENA)):
        assert talk.refused(command).code == "deleted"


def test_a_deleted_answer_that_went_out_all_the_same_is_shown(talk: Talk) -> None:
    message_id = answered(talk, MessageState.QUEUED)
    talk.does(DeleteAnswer(message_id, OLENA))
    talk.does(reported(message_id, MessageState.SENT, provider_ids=["9"]))
    view = message_view(talk.state.messages[message_id])
    assert (view["deleted"], view["text"], view["state"]) == (False, "Вітаю", "sent")


# ---------------------------------------------------------------- refusals


@dataclass(frozen=True)
class RefusalCase:
    name: str
    command: Any
    code: str


@pytest.mark.parametrize(
    "case",
    [
        RefusalCase("no such message", Retry("nothing", OLENA), "not_found"),
        RefusalCase(
            "a client's message", Retry(inbound_message_id(CONVERSATION, "1"), OLENA), "not_an_answer"
        ),
        RefusalCase(
            "a client's message", DeleteAnswer(inbound_message_id(CONVERSATION, "1"), OLENA), "not_an_answer"
        ),
    ],
    ids=lambda case: case.name,
)
def test_what_cannot_be_mended(talk: Talk, case: RefusalCase) -> None:
    assert talk.refused(case.command).code == case.code


@pytest.mark.parametrize(
    "state", [MessageState.QUEUED, MessageState.SENDING, MessageState.UNKNOWN, MessageState.SENT]
)
def test_only_a_failed_answer_is_sent_again(talk: Talk, state: MessageState) -> None:
    assert talk.refused(Retry(answered(talk, state), OLENA)).code == "not_failed"


@pytest.mark.parametrize(
    ("door", "words"),
    [(Door(connected=False), "підключити"), (Door(connected=False, disabled=True), "ввімкнути")],
)
def test_a_channel_that_is_off_takes_nothing_and_says_the_fix(talk: Talk, door: Door, words: str) -> None:
    message_id = answered(talk, MessageState.FAILED)
    talk.door = door
    commands: tuple[Command, ...] = (reply(client_msg_id="key-0002"), Retry(message_id, OLENA))
    for command in commands:
        refusal = talk.refused(command)
        assert (refusal.code, words in refusal.detail) == ("channel_disconnected", True)
    talk.does(came("2"))
    assert talk.state.in_seq == 2


# ---------------------------------------------------------------- behind


def test_a_report_on_an_attempt_we_have_not_heard_of_is_of_a_commit_elsewhere(talk: Talk) -> None:
    message_id = answered(talk, MessageState.FAILED)
    stale = talk.state
    talk.does(Retry(message_id, OLENA))
    report = reported(f"{message_id}.2", MessageState.FAILED, failure=FAILURE)
    assert is_behind(stale, report)
    assert not is_behind(talk.state, report)
    talk.does(report)
    assert talk.state.messages[message_id].state is MessageState.FAILED


# ---------------------------------------------------------------- told again, and told


def mended() -> Talk:
    talk = Talk()
    talk.does(came("1"))
    first = answered(talk, MessageState.UNKNOWN)
    talk.does(Resolve(first, "failed", OLENA))
    talk.does(Retry(first, OLENA))
    talk.does(reported(f"{first}.2", MessageState.UNKNOWN))
    talk.does(Resolve(first, "resend", IVAN))
    talk.does(reported(f"{first}.2", MessageState.SENT, provider_ids=["9"]))
    talk.does(reply(client_msg_id="key-0002", words="друге"))
    second = max(talk.state.messages.values(), key=lambda message: message.n).id
    talk.does(DeleteAnswer(second, OLENA))
    talk.does(reported(second, MessageState.FAILED, failure=FAILURE))
    talk.does(SetStatus(Status.CLOSED, OLENA))
    return talk


def test_a_message_ahead_of_its_conversation_is_not_harmed_by_the_log() -> None:
    """A crash between the two projections: the messages are newer than the conversation folded onto."""
    commits = mended().commits
    states = [Talk().state]
    for commit in commits:
        states.append(fold(states[-1], commit))
    for end in range(len(commits) + 1):
        for cut in range(end):
            before = states[cut].messages
            ahead = {id_: message for id_, message in states[end].messages.items() if id_ in before}
            state = replace(states[cut], messages=ahead)
            for commit in commits[cut:end]:
                assert not changed_ids(commit.events) - state.messages.keys()
                state = fold(state, commit)
            assert plain(state) == plain(states[end]), f"from {cut} to {end}"


def plain(state: State) -> tuple[State, dict[str, Message]]:
    """Without revisions: one that is refolded is not written over a newer one."""
    return replace(state, messages={}), {id_: replace(m, rev=0) for id_, m in state.messages.items()}


def test_the_trail_tells_it_in_order() -> None:
    talk = mended()
    first = next(
        event.message_id
        for commit in talk.commits
        for event in commit.events
        if isinstance(event, AnswerOrdered)
    )
    commits = [replace(commit, trace="00-" + "a" * 32 + "-" + "b" * 16 + "-01") for commit in talk.commits]
    trail = trail_of(first, commits)
    assert [(step.event, step.state, step.author) for step in trail.steps] == [
        ("answer.ordered", "queued", "Олена"),
        ("delivery.changed", "unknown", None),
        ("fate.decided", "failed", "Олена"),
        ("answer.reordered", "queued", "Олена"),
        ("delivery.changed", "unknown", None),
        ("answer.reordered", "queued", "Іван"),
        ("delivery.changed", "sent", None),
    ]
    assert {step.trace_id for step in trail.steps} == {"a" * 32}
    assert all(step.detail for step in trail.steps)
    assert trail.steps[0].at > NOON
