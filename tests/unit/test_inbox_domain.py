"""The rules of a conversation, one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import pytest
from inbox_talk import (
    CONTACT,
    CONVERSATION,
    IVAN,
    NOON,
    OLENA,
    Talk,
    came,
    content,
    edited,
    reply,
    reported,
    turned,
)

from inbox.domain import (
    BLOCKED_LINE,
    COMMIT,
    MESSAGE,
    RETURNED_LINE,
    STATE,
    AnswerOrdered,
    Author,
    Claim,
    Command,
    Door,
    EditParked,
    MessageCame,
    Moment,
    Person,
    PostReply,
    Refusal,
    RequestOpened,
    SetStatus,
    apply,
    fold,
    message_view,
    reply_message_id,
    row_view,
    unread,
)
from msgkit.contracts.events import Contact, Failure
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import (
    AuthorKind,
    Box,
    Direction,
    FailureCode,
    Handler,
    MessageKind,
    MessageState,
    Status,
)


@pytest.fixture
def talk() -> Talk:
    talk = Talk()
    talk.does(came("1"))
    return talk


def test_the_first_message_opens_a_request_with_an_operator(talk: Talk) -> None:
    assert [type(event) for event in talk.commits[0].events] == [RequestOpened, MessageCame]
    state = talk.state
    assert (state.n, state.in_seq, state.box, state.handler) == (1, 1, Box.NEW, Handler.OPERATOR)
    assert state.request is not None
    assert state.request.number == 1


def test_with_a_bot_the_first_message_goes_to_it() -> None:
    talk = Talk(Door(bot_enabled=True))
    talk.does(came("1"))
    assert (talk.state.box, talk.state.handler, talk.state.is_unanswered) == (Box.BOT, Handler.BOT, False)


def test_a_repeat_changes_nothing(talk: Talk) -> None:
    assert talk.does(came("1")) == ()


@dataclass(frozen=True)
class PositionCase:
    name: str
    sent_at: datetime
    expected: datetime


@pytest.mark.parametrize(
    "case",
    [
        PositionCase(
            "its own time",
            NOON + timedelta(seconds=2, microseconds=1500),
            NOON + timedelta(seconds=2, microseconds=1000),
        ),
        PositionCase("not before our last message", NOON - timedelta(hours=1), NOON + timedelta(seconds=2)),
        PositionCase("not in the future", NOON + timedelta(days=1), NOON + timedelta(seconds=3)),
    ],
    ids=lambda case: case.name,
)
def test_an_inbound_message_stands_between_our_last_one_and_now(talk: Talk, case: PositionCase) -> None:
    talk.does(reply())  # at NOON + 2 s
    talk.does(came("2", sent_at=case.sent_at))
    assert talk.state.messages[inbound_message_id(CONVERSATION, "2")].pos_at == case.expected


def test_within_one_second_the_providers_order_decides(talk: Talk) -> None:
    for number in ("5", "3", "4", "6", "2"):
        talk.does(came(number))
    assert [m.provider_ids[0] for m in talk.dialogue] == ["1", "2", "3", "4", "5", "6"]
    assert [m.n for m in talk.dialogue] == [1, 6, 3, 4, 2, 5]


def test_what_the_provider_cannot_tell_apart_stands_as_it_came(talk: Talk) -> None:
    """WhatsApp tells whole seconds, and so does Meta's list of what was missed."""
    for number in ("2", "3", "4", "5"):
        talk.does(came(number, provider_seq=7))
    assert [m.provider_ids[0] for m in talk.dialogue] == ["1", "2", "3", "4", "5"]


def test_a_backlog_behind_our_answer_stands_as_it_was_written(talk: Talk) -> None:
    """After an outage messages of many seconds come at once, all written before an answer of ours."""
    talk.does(reply())
    seconds = [10, 11, 11, 11, 12, 13, 13, 14, 15, 15]
    for number, second in enumerate(seconds, start=2):
        talk.does(came(str(number), sent_at=NOON - timedelta(minutes=1) + timedelta(seconds=second)))
    inbound = [m.provider_ids[0] for m in talk.dialogue if m.direction is Direction.IN]
    assert inbound == [str(number) for number in range(1, len(seconds) + 2)]


def test_a_message_two_minutes_old_says_so(talk: Talk) -> None:
    talk.does(came("2", sent_at=NOON - timedelta(minutes=2, seconds=1)))
    talk.does(came("3", sent_at=NOON - timedelta(minutes=2)))
    assert [m.late for m in sorted(talk.dialogue, key=lambda m: m.n)] == [False, True, False]


def test_an_answer_assigns_answers_and_is_ordered(talk: Talk) -> None:
    decision = talk.does(reply())
    assert isinstance(decision, tuple)
    ordered = decision[0]
    assert isinstance(ordered, AnswerOrdered)
    assert (ordered.out_seq, ordered.contact_key, ordered.n) == (1, CONTACT, 2)
    state = talk.state
    assert (state.assignee, state.answered_seq, state.box) == (OLENA, 1, Box.ACTIVE)
    assert state.request is not None
    assert state.request.first_reply_at == talk.now


def test_a_second_operators_answer_keeps_the_assignee(talk: Talk) -> None:
    talk.does(reply())
    talk.does(reply(IVAN, client_msg_id="key-0002", seen_n=2))
    assert talk.state.assignee == OLENA


def test_the_same_key_is_the_same_message_and_another_body_a_mistake(talk: Talk) -> None:
    talk.does(reply())
    assert talk.does(reply(seen_n=0, force=True)) == ()
    assert talk.refused(reply(words="Інше")).code == "client_msg_id_reused"
    assert not isinstance(talk.does(reply(IVAN, force=True)), Refusal)


@dataclass(frozen=True)
class GuardCase:
    name: str
    by: Person
    seen_n: int | None
    force: bool
    refused: bool


@pytest.mark.parametrize(
    "case",
    [
        GuardCase("has not seen a colleague's answer", IVAN, 1, False, True),
        GuardCase("has seen it", IVAN, 2, False, False),
        GuardCase("sends nevertheless", IVAN, 1, True, False),
        GuardCase("does not say what was seen", IVAN, None, False, False),
        GuardCase("the answer is the author's own", OLENA, 1, False, False),
    ],
    ids=lambda case: case.name,
)
def test_two_operators_do_not_answer_twice(talk: Talk, case: GuardCase) -> None:
    talk.does(reply())
    command = reply(case.by, client_msg_id="key-0002", seen_n=case.seen_n, force=case.force)
    decision = talk.does(command)
    assert isinstance(decision, Refusal) is case.refused
    if isinstance(decision, Refusal):
        assert (decision.status, decision.code) == (409, "colleague_replied")


def test_the_guard_remembers_a_colleague_behind_ones_own_answers(talk: Talk) -> None:
    talk.does(reply(IVAN))
    for number in range(3):
        talk.does(reply(OLENA, client_msg_id=f"key-1{number:03}", force=True))
    assert talk.refused(reply(OLENA, client_msg_id="key-2000", seen_n=1)).code == "colleague_replied"
    assert not isinstance(talk.does(reply(OLENA, client_msg_id="key-2001", seen_n=2)), Refusal)


def test_a_note_is_never_sent_and_answers_nothing(talk: Talk) -> None:
    decision = talk.does(reply(note=True, words="Передзвонити"))
    assert isinstance(decision, tuple)
    assert not any(isinstance(event, AnswerOrdered) for event in decision)
    assert (talk.state.answered_seq, talk.state.assignee, talk.state.out_seq) == (0, None, 0)
    assert talk.dialogue[-1].direction is Direction.NOTE


def test_an_empty_answer_is_refused(talk: Talk) -> None:
    assert talk.refused(reply(words=" \n ")).status == 422


def test_an_answer_quotes_only_what_is_there(talk: Talk) -> None:
    target = talk.dialogue[0]
    decision = talk.does(reply(reply_to=target.id))
    assert isinstance(decision, tuple)
    assert isinstance(decision[-1], AnswerOrdered)
    assert decision[-1].reply_to_provider_id == "1"
    refusal = talk.refused(reply(client_msg_id="key-0002", reply_to="nothing"))
    assert (refusal.status, refusal.code) == (422, "reply_to_not_found")


def test_a_disconnected_channel_takes_no_answer(talk: Talk) -> None:
    talk.door = Door(connected=False)
    assert talk.refused(reply()).code == "channel_disconnected"


def test_a_name_once_known_stays_when_the_messenger_does_not_say_it(talk: Talk) -> None:
    nameless = Contact(key=CONTACT, name="", username=None, phone=None, language=None)
    talk.does(came("2", contact=nameless))
    assert (talk.state.contact is not None and talk.state.contact.name) == "Оля"
    stranger = Talk()
    stranger.does(came(contact=nameless))
    assert (stranger.state.contact is not None and stranger.state.contact.name) == "Без імені"


def test_a_block_is_a_line_and_a_refusal_until_the_client_writes(talk: Talk) -> None:
    talk.does(turned(False, NOON + timedelta(seconds=5)))
    assert (talk.state.blocked, talk.dialogue[-1].body.text) == (True, BLOCKED_LINE)
    assert talk.does(turned(False, NOON + timedelta(seconds=6), "again")) == ()
    assert talk.refused(reply()).code == "bot_blocked"
    talk.does(came("2", sent_at=NOON + timedelta(seconds=9)))
    assert not talk.state.blocked
    assert not isinstance(talk.does(reply()), Refusal)


@pytest.mark.parametrize("by_message", [False, True])
def test_a_client_who_comes_back_is_seen_in_the_dialogue_and_in_the_row(talk: Talk, by_message: bool) -> None:
    talk.does(turned(False, NOON + timedelta(seconds=5)))
    row = row_view(talk.state, "Viber")
    assert row["last_message"]["text"] == BLOCKED_LINE
    back = NOON + timedelta(seconds=9)
    talk.does(came("2", "Я знову тут", sent_at=back) if by_message else turned(True, back, "back"))
    said = ["Добрий день", BLOCKED_LINE, RETURNED_LINE, *(["Я знову тут"] if by_message else [])]
    assert [message.body.text for message in talk.dialogue] == said
    assert [message.n for message in talk.dialogue] == list(range(1, len(said) + 1))
    row = row_view(talk.state, "Viber")
    assert (row["contact"]["blocked"], row["last_message"]["text"]) == (False, said[-1])
    assert (row["in_seq"], unread(talk.state, 0)) == (1 + by_message, 1 + by_message)


def test_a_block_told_late_stands_before_what_the_client_wrote_after_it(talk: Talk) -> None:
    talk.now = NOON + timedelta(hours=1)
    talk.does(turned(False, NOON + timedelta(minutes=5)))
    talk.does(came("2", "Я знову тут", sent_at=NOON + timedelta(minutes=9)))
    said = ["Добрий день", BLOCKED_LINE, RETURNED_LINE, "Я знову тут"]
    assert [message.body.text for message in talk.dialogue] == said


def test_an_old_message_or_an_old_return_does_not_lift_a_newer_block(talk: Talk) -> None:
    talk.does(turned(False, NOON + timedelta(seconds=5)))
    talk.does(came("2", sent_at=NOON + timedelta(seconds=4)))
    talk.does(turned(True, NOON + timedelta(seconds=3), "late"))
    assert talk.state.blocked
    talk.does(turned(True, NOON + timedelta(seconds=7), "back"))
    assert not talk.state.blocked


def test_a_block_of_somebody_who_never_wrote_is_nothing() -> None:
    talk = Talk()
    assert talk.does(turned(False, NOON)) == ()


def test_states_of_an_answer_only_rise(talk: Talk) -> None:
    talk.does(reply())
    order = (MessageState.DELIVERED, MessageState.SENT, MessageState.SENDING, MessageState.DELIVERED)
    for state in order:
        talk.does(reported(talk.answer_id, state, provider_ids=["77"]))
    message = talk.state.messages[talk.answer_id]
    assert (message.state, message.provider_ids) == (MessageState.DELIVERED, ("77",))
    assert talk.state.last_message is not None
    assert talk.state.last_message.state is MessageState.DELIVERED
    talk.does(reported(talk.answer_id, MessageState.READ))
    assert talk.state.messages[talk.answer_id].state is MessageState.READ


def test_a_failure_says_why_and_a_later_receipt_proves_it_wrong(talk: Talk) -> None:
    talk.does(reply())
    failure = Failure(code=FailureCode.BOT_BLOCKED, text="Клієнт заблокував бота")
    talk.does(reported(talk.answer_id, MessageState.FAILED, failure=failure, contact_blocked=True))
    assert talk.state.blocked
    assert talk.state.messages[talk.answer_id].failure is not None
    talk.does(reported(talk.answer_id, MessageState.DELIVERED))
    message = talk.state.messages[talk.answer_id]
    assert (message.state, message.failure) == (MessageState.DELIVERED, None)


def test_a_report_on_an_unknown_or_inbound_message_is_refused(talk: Talk) -> None:
    assert talk.refused(reported("nothing", MessageState.SENT)).code == "message_not_found"
    assert talk.refused(reported(talk.dialogue[0].id, MessageState.SENT)).code == "message_not_found"


def test_an_edit_keeps_every_version(talk: Talk) -> None:
    talk.does(edited("1", "Друга", NOON + timedelta(seconds=5)))
    talk.does(edited("1", "Четверта", NOON + timedelta(seconds=9)))
    talk.does(edited("1", "Третя", NOON + timedelta(seconds=7)))
    message = talk.dialogue[0]
    assert message.body.text == "Четверта"
    assert [version.text for version in message.versions] == ["Добрий день", "Друга", "Третя"]
    assert talk.state.last_message is not None
    assert talk.state.last_message.text == "Четверта"


def test_two_edits_within_one_second_are_both_kept(talk: Talk) -> None:
    at = NOON + timedelta(seconds=5)
    talk.does(edited("1", "Друга", at))
    talk.does(edited("1", "Третя", at))
    assert talk.dialogue[0].body.text == "Третя"
    assert talk.does(edited("1", "Друга", at)) == ()


def test_an_edit_that_changes_nothing_is_nothing(talk: Talk) -> None:
    assert talk.does(edited("1", "Добрий день", NOON + timedelta(seconds=5))) == ()


def test_an_edit_before_its_message_waits_for_it() -> None:
    talk = Talk()
    parked = talk.does(edited("1", "Виправлено", NOON + timedelta(seconds=5)))
    assert isinstance(parked, tuple)
    assert isinstance(parked[0], EditParked)
    assert talk.state.box is None
    assert talk.does(edited("1", "Виправлено", NOON + timedelta(seconds=5))) == ()
    talk.does(came("1"))
    message = talk.dialogue[0]
    assert message.body.text == "Виправлено"
    assert [version.text for version in message.versions] == ["Добрий день"]
    assert talk.state.parked_edits == ()


def test_a_message_to_a_closed_chat_opens_a_new_request(talk: Talk) -> None:
    talk.does(reply())
    talk.does(SetStatus(Status.CLOSED, OLENA))
    assert (talk.state.box, unread(talk.state, 0)) == (Box.DONE, 0)
    talk.does(came("2"))
    state = talk.state
    assert (state.box, state.assignee, state.status) == (Box.NEW, None, Status.OPEN)
    assert state.request is not None
    assert state.request.number == 4
    assert {m.request_id for m in talk.dialogue if m.n == 4} == {state.request.id}


def test_a_message_to_a_waiting_chat_opens_it(talk: Talk) -> None:
    talk.does(SetStatus(Status.WAITING, OLENA))
    assert talk.state.box is Box.WAITING
    talk.does(came("2"))
    assert talk.state.status is Status.OPEN


def test_an_answer_takes_a_dialogue_over_from_the_bot() -> None:
    talk = Talk(Door(bot_enabled=True))
    talk.does(came("1"))
    talk.does(PostReply(author=Author(AuthorKind.BOT, "bot", "Бот"), client_msg_id="bot-0001", text="Меню"))
    bots = talk.answer_id
    assert talk.state.bot_queued == (bots,)
    decision = talk.does(reply(seen_n=2))
    assert isinstance(decision, tuple)
    assert getattr(decision[0], "cancelled", None) == (bots,)
    assert (talk.state.handler, talk.state.box) == (Handler.OPERATOR, Box.ACTIVE)
    assert not talk.state.bot_queued
    assert [m.body.text for m in talk.dialogue[-2:]] == ["Замість бота відповідає Олена", "Вітаю"]


def test_a_claim_takes_a_free_chat_only(talk: Talk) -> None:
    talk.does(Claim(OLENA))
    claimed_at = talk.now
    assert (talk.state.assignee, talk.state.assigned_at) == (OLENA, claimed_at)
    assert talk.does(Claim(OLENA)) == ()
    refusal = talk.refused(Claim(IVAN))
    assert (refusal.code, refusal.holder, refusal.since) == ("claimed_by_other", OLENA, claimed_at)
    assert "Олена" in refusal.detail
    talk.does(SetStatus(Status.CLOSED, OLENA))
    assert talk.refused(Claim(OLENA)).code == "conversation_closed"


@pytest.mark.parametrize(
    "command", [reply(), SetStatus(Status.CLOSED, OLENA), Claim(OLENA)], ids=["reply", "status", "claim"]
)
def test_nobody_acts_on_what_is_not_there(command: Command) -> None:
    assert Talk().refused(command).status == 404


def test_unread_counts_from_the_later_of_mark_and_answer(talk: Talk) -> None:
    for number in range(2, 6):
        talk.does(came(str(number)))
    assert [unread(talk.state, mark) for mark in (0, 3, 5, 9)] == [5, 2, 0, 0]
    talk.does(reply(seen_n=5))
    talk.does(came("6"))
    assert unread(talk.state, 0) == 1


def full_talk() -> Talk:
    talk = Talk()
    for command in (
        edited("2", "Змінено раніше", NOON + timedelta(seconds=3)),
        came("1"),
        came("2"),
        reply(reply_to=inbound_message_id(CONVERSATION, "1")),
        reported(reply_message_id(CONVERSATION, OLENA.id, "key-0001"), MessageState.SENT, provider_ids=["9"]),
        edited("1", "Виправлено", NOON + timedelta(seconds=4)),
        turned(False, NOON + timedelta(seconds=30)),
        came("3", sent_at=NOON + timedelta(seconds=31)),
        reply(IVAN, client_msg_id="key-0002", note=True),
        SetStatus(Status.WAITING, IVAN),
    ):
        assert not isinstance(talk.does(command), Refusal)
    return talk


def test_what_is_stored_is_read_back_equal() -> None:
    talk = full_talk()
    again = STATE.validate_python(STATE.dump_python(talk.state, exclude={"messages"}))
    assert again == replace(talk.state, messages={})
    for message in talk.dialogue:
        assert MESSAGE.validate_python(MESSAGE.dump_python(message)) == message
    for commit in talk.commits:
        assert COMMIT.validate_python(COMMIT.dump_python(commit)) == commit


def test_folding_the_log_again_gives_the_same() -> None:
    talk = full_talk()
    state = Talk().state
    for commit in talk.commits:
        state = fold(state, commit)
    assert state == talk.state


def test_a_gap_in_the_log_is_no_log() -> None:
    talk = full_talk()
    with pytest.raises(ValueError, match="gap"):
        fold(Talk().state, talk.commits[1])


def test_applying_to_messages_that_are_already_ahead_changes_nothing_more() -> None:
    """Messages are projected before their conversation: a crash between leaves them ahead."""
    talk = full_talk()
    state = Talk().state
    for commit in talk.commits:
        before = state
        state = fold(state, commit)
        again = replace(before, messages={**before.messages, **state.messages})
        for event in commit.events:
            if type(event).__name__ in ("Edited", "DeliveryChanged"):
                again = apply(again, event, Moment(commit.v, commit.at))
        assert {id_: again.messages[id_] for id_ in state.messages} == state.messages


def test_views_are_those_of_the_contract() -> None:
    talk = full_talk()
    row = ConversationRow.model_validate(row_view(talk.state, "Telegram"))
    assert (row.box, row.channel.title, row.contact.name) == (Box.WAITING, "Telegram", "Оля")
    for message in talk.dialogue:
        view = MessageView.model_validate(message_view(message))
        assert set(message_view(message)) == set(MessageView.model_fields)
        assert (view.id, view.edited) == (message.id, message.edited_at is not None)
    assert set(row_view(talk.state, "")) == set(ConversationRow.model_fields)


def test_the_raw_element_stays_only_with_what_cannot_be_shown(talk: Talk) -> None:
    dice = content(MessageKind.UNSUPPORTED, unsupported="dice")
    decision = talk.does(came("2", content=dice))
    assert isinstance(decision, tuple)
    assert isinstance(decision[-1], MessageCame)
    assert (decision[-1].raw, decision[-1].body.unsupported) == ('{"raw": 1}', "dice")
    first = talk.commits[0].events[-1]
    assert isinstance(first, MessageCame)
    assert first.raw is None
