"""Messages taken back, and reactions of both sides."""

from __future__ import annotations

from datetime import timedelta

from inbox_talk import (
    CONVERSATION,
    NOON,
    OLENA,
    Talk,
    came,
    echoed,
    edited,
    photo,
    reacted,
    reply,
    reported,
    settled,
    withdrawn,
)

from inbox.domain import (
    AnswerReordered,
    Message,
    Resolve,
    Retry,
    Template,
    TemplateValue,
    message_view,
    row_view,
    unread,
)
from msgkit.contracts.events import ButtonPress
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.words import AuthorKind, Direction, MessageState

LATER = NOON + timedelta(seconds=30)


def message_of(talk: Talk, provider_id: str) -> Message:
    return talk.state.messages[inbound_message_id(CONVERSATION, provider_id)]


def reactions(talk: Talk, provider_id: str = "1") -> list[str]:
    found: list[str] = message_view(message_of(talk, provider_id))["reactions"]
    return found


# ------------------------------------------------------------ taken back


def test_a_message_taken_back_keeps_its_place_and_loses_its_words() -> None:
    talk = Talk()
    talk.does(came(words="секрет"))
    talk.does(edited("1", "інший секрет", LATER))
    talk.does(withdrawn("1", LATER))
    message = message_of(talk, "1")
    view = message_view(message)
    assert (view["deleted"], view["text"], view["versions"], view["edited"]) == (True, "", [], True)
    assert "секрет" not in repr(talk.state)
    assert row_view(talk.state, "")["last_message"]["text"] == "Повідомлення видалено"
    assert unread(talk.state, 0) == 1


def test_neither_a_repeat_nor_an_edit_nor_a_file_changes_what_is_gone() -> None:
    talk = Talk()
    talk.does(came(content=photo()))
    talk.does(withdrawn("1"))
    v = talk.state.v
    assert talk.does(withdrawn("1", LATER)) == ()
    assert talk.does(edited("1", "пізно", LATER)) == ()
    assert talk.does(settled()) == ()
    assert talk.does(reacted("1", "👍")) == ()
    assert talk.state.v == v


def test_one_taken_back_before_it_came_is_never_shown() -> None:
    talk = Talk()
    talk.does(edited("1", "виправлено", LATER))
    talk.does(withdrawn("1"))
    assert talk.does(withdrawn("1")) == ()
    talk.does(came(words="секрет"))
    assert message_of(talk, "1").withdrawn_at == NOON
    assert "секрет" not in repr(talk.state)
    assert (talk.state.parked_deletions, talk.state.parked_edits) == ((), ())


def test_one_of_ours_taken_back_in_the_messenger_stays_so_whatever_is_reported_later() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(echoed(AuthorKind.OPERATOR, "900"))
    talk.does(reply(seen_n=9))
    answer = next(m.id for m in talk.dialogue if m.client_msg_id is not None)
    talk.does(reported(answer, MessageState.SENT, provider_ids=["77"]))
    talk.does(withdrawn("900"))
    talk.does(withdrawn("77"))
    talk.does(reported(answer, MessageState.READ))
    for message in (message_of(talk, "900"), talk.state.messages[answer]):
        assert message_view(message)["deleted"]
    assert talk.state.messages[answer].state is MessageState.READ
    talk.does(reply(words="далі", client_msg_id="key-0002", reply_to=answer))
    assert talk.dialogue[-1].quote is not None
    assert talk.dialogue[-1].quote.text == "Повідомлення видалено"


def test_an_answer_taken_back_before_its_id_is_known_is_found_by_its_report() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    talk.does(withdrawn("77"))
    assert len(talk.state.parked_deletions) == 1
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["77"]))
    assert talk.state.messages[talk.answer_id].withdrawn_at == NOON
    assert not talk.state.parked_deletions


def test_what_befell_an_echo_befell_the_answer_it_turns_out_to_be() -> None:
    for befell in (withdrawn("77"), reacted("77", "👍")):
        talk = Talk()
        talk.does(came())
        talk.does(reply())
        talk.does(echoed(AuthorKind.OPERATOR, "77"))
        answer = next(m.id for m in talk.dialogue if m.client_msg_id is not None)
        talk.does(befell)
        talk.does(reported(answer, MessageState.SENT, provider_ids=["77"]))
        view = message_view(talk.state.messages[answer])
        assert (view["deleted"], view["reactions"]) in ((True, []), (False, ["👍"]))
        # From now on it is the answer that is meant.
        talk.does(withdrawn("77"))
        assert message_view(talk.state.messages[answer])["deleted"]


def test_neither_a_template_nor_a_press_that_was_taken_back_leaves_its_words() -> None:
    talk = Talk()
    talk.does(came(words="Секрет", pressed=ButtonPress(value="секрет", message_provider_id=None)))
    template = Template("visit", "uk", (TemplateValue("body", 0, None, "секрет"),))
    talk.does(reply(words="секрет", template=template))
    talk.does(reported(talk.answer_id, MessageState.SENT, provider_ids=["77"]))
    talk.does(withdrawn("1"))
    talk.does(withdrawn("77"))
    assert "секрет" not in repr(talk.state).lower()


# ------------------------------------------------------------ reactions


def test_a_reaction_of_ours_pushes_no_message_of_the_client_down() -> None:
    talk, _ = signed_talk()
    on_its_way = talk.now - timedelta(milliseconds=500)
    talk.does(came("2", sent_at=on_its_way))
    assert message_of(talk, "2").pos_at == on_its_way


def test_each_side_has_one_sign_and_the_clients_stands_first() -> None:
    talk = Talk()
    talk.does(came())
    before = (talk.state.activity_at, talk.state.in_seq, talk.state.n, talk.state.last_message)
    talk.does(reacted("1", "❤", by=AuthorKind.OPERATOR))
    talk.does(reacted("1", "👍"))
    assert reactions(talk) == ["👍", "❤"]
    talk.does(reacted("1", "😮", LATER))
    assert reactions(talk) == ["😮", "❤"]
    talk.does(reacted("1", None, LATER, AuthorKind.OPERATOR))
    assert reactions(talk) == ["😮"]
    assert (talk.state.activity_at, talk.state.in_seq, talk.state.n, talk.state.last_message) == before


def test_an_older_one_told_later_is_nothing() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reacted("1", "👍", LATER))
    assert talk.does(reacted("1", "😡", NOON)) == ()
    talk.does(reacted("1", None, LATER + timedelta(seconds=1)))
    assert talk.does(reacted("1", "👍", LATER)) == ()
    assert talk.does(reacted("2", "👍", LATER)) == ()
    assert reactions(talk) == []


def signed_talk() -> tuple[Talk, str]:
    talk = Talk()
    talk.does(came())
    (order,) = talk.done(reply(words="👍", is_reaction=True, reply_to=message_of(talk, "1").id))
    return talk, str(order.message_id)


def test_a_reaction_of_ours_is_no_answer_and_is_seen_where_it_belongs() -> None:
    talk, id_ = signed_talk()
    assert (talk.state.answered_seq, talk.state.assignee, talk.state.last_answer_n) == (0, None, 0)
    assert talk.state.request is not None
    assert talk.state.request.first_reply_at is None
    assert talk.state.last_message is not None
    assert talk.state.last_message.text == "Добрий день"
    assert reactions(talk) == []
    assert not message_view(talk.state.messages[id_])["deleted"]
    talk.does(reported(id_, MessageState.SENT, provider_ids=["77"]))
    assert reactions(talk) == ["👍"]
    assert talk.state.messages[id_].replaced_by == message_of(talk, "1").id
    # Its echo says nothing new.
    assert talk.does(reacted("1", "👍", talk.now, AuthorKind.OPERATOR)) == ()
    talk.does(reported(id_, MessageState.READ))
    assert reactions(talk) == ["👍"]


def test_a_reaction_the_messenger_refuses_late_is_shown_as_failed_and_may_go_out_again() -> None:
    talk, id_ = signed_talk()
    talk.does(reported(id_, MessageState.SENT))
    talk.does(reported(id_, MessageState.FAILED, is_late_refusal=True))
    assert reactions(talk) == []
    shown = message_view(talk.state.messages[id_])
    assert (shown["deleted"], shown["replaced_by"], shown["state"]) == (False, None, "failed")
    (again,) = talk.done(Retry(id_, OLENA))
    assert isinstance(again, AnswerReordered)
    assert (again.is_reaction, again.text, again.reply_to_provider_id) == (True, "👍", "1")
    talk.does(reported(f"{id_}.2", MessageState.DELIVERED))
    assert reactions(talk) == ["👍"]


def test_a_person_may_say_that_a_reaction_arrived() -> None:
    talk, id_ = signed_talk()
    talk.does(reported(id_, MessageState.UNKNOWN))
    talk.does(Resolve(id_, "sent", OLENA))
    assert reactions(talk) == ["👍"]


def test_one_put_elsewhere_meanwhile_outlives_ours_that_was_ordered_before_it() -> None:
    talk, id_ = signed_talk()
    talk.does(reacted("1", "❤", talk.now + timedelta(seconds=5), AuthorKind.OPERATOR))
    talk.does(reported(id_, MessageState.SENT))
    assert reactions(talk) == ["❤"]


def test_taking_ours_off() -> None:
    talk, id_ = signed_talk()
    talk.does(reported(id_, MessageState.SENT))
    target = message_of(talk, "1").id
    (order,) = talk.done(reply(words="", client_msg_id="key-0002", is_reaction=True, reply_to=target))
    talk.does(reported(order.message_id, MessageState.SENT))
    assert reactions(talk) == []


def test_a_reaction_needs_a_message_the_messenger_knows() -> None:
    talk = Talk()
    talk.does(came())
    talk.does(reply())
    unsent = talk.answer_id
    target = message_of(talk, "1").id
    for wrong in (
        reply(words="👍", client_msg_id="key-0002", is_reaction=True),
        reply(words="👍", client_msg_id="key-0002", is_reaction=True, reply_to=unsent),
        reply(words="дуже дякую за все", client_msg_id="key-0002", is_reaction=True, reply_to=target),
        reply(words="👍", client_msg_id="key-0002", is_reaction=True, reply_to=target, note=True),
    ):
        assert talk.refused(wrong).status == 422
    assert all(one.direction is not Direction.NOTE for one in talk.dialogue)
