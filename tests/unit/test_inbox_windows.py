"""The reply window: who may answer until when, and what a template is for."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from inbox_talk import CONVERSATION, NOON, OLENA, Talk, came, echoed, reacted, recalled, reply, reported

from inbox.documents import state_document
from inbox.domain import (
    STATE,
    Arrival,
    Door,
    Messenger,
    Place,
    Refusal,
    Resolve,
    Retry,
    Template,
    TemplateValue,
    Window,
    row_view,
    window_of,
)
from inbox.domain.windows import MARGIN
from msgkit.contracts.events import DeliveryReported, Failure
from msgkit.contracts.views import ConversationRow
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState

DAY = timedelta(hours=24)
CLOUD = Messenger(24, has_templates=True, tells_reading=True)
CLOUD_DOOR = Door(messenger=CLOUD)
TOO_LATE = Failure(code=FailureCode.WINDOW_CLOSED, text="Минуло понад 24 години.")
TEMPLATE = Template("visit", "uk", (TemplateValue("body", 0, None, "Оля"),))


def talk_of(messenger: Messenger = CLOUD) -> Talk:
    return Talk(Door(messenger=messenger))


def at(talk: Talk, hours: float) -> None:
    """So many hours after noon, when the client writes."""
    talk.now = NOON + timedelta(hours=hours)


def test_an_answer_passes_within_the_window_and_a_minute_before_its_end_no_more() -> None:
    talk = talk_of()
    talk.does(came())
    at(talk, 23.9)
    assert not isinstance(talk.does(reply(client_msg_id="key-0001")), Refusal)
    talk.now = NOON + DAY - MARGIN
    refusal = talk.refused(reply(client_msg_id="key-0002"))
    assert (refusal.status, refusal.code) == (409, "window_closed")
    assert refusal.detail == (
        "Минуло 24 години від останнього повідомлення клієнта: надішліть шаблон або дочекайтеся відповіді."
    )
    assert not isinstance(talk.does(reply(client_msg_id="key-0003", note=True)), Refusal)
    assert not isinstance(talk.does(reply(client_msg_id="key-0004", template=TEMPLATE)), Refusal)


@pytest.mark.parametrize(
    ("hours", "words"),
    [(1, "1 година"), (22, "22 години"), (12, "12 годин"), (168, "7 днів"), (26, "26 годин"), (48, "2 дні")],
)
def test_the_refusal_names_the_hours_and_templates_only_where_they_are(hours: int, words: str) -> None:
    talk = talk_of(Messenger(hours))
    talk.does(came())
    at(talk, hours + 1)
    detail = talk.refused(reply()).detail
    assert words in detail
    assert "шаблон" not in detail


def test_a_messenger_without_windows_is_never_closed() -> None:
    talk = talk_of(Messenger())
    talk.does(came())
    at(talk, 5_000)
    assert not isinstance(talk.does(reply()), Refusal)
    assert window_of(talk.state, Door(), talk.now).until is None


def test_sending_again_is_held_to_the_window_except_for_a_template() -> None:
    talk = talk_of()
    talk.does(came())
    talk.does(reply(client_msg_id="key-0001"))
    free = talk.answer_id
    talk.does(reply(client_msg_id="key-0002", template=TEMPLATE))
    (template,) = (m.id for m in talk.state.messages.values() if m.template is not None)
    for id_ in (free, template):
        talk.does(reported(id_, MessageState.FAILED))
    at(talk, 25)
    assert talk.refused(Retry(free, OLENA)).code == "window_closed"
    (again,) = talk.done(Retry(template, OLENA))
    assert again.template == TEMPLATE
    talk.does(reported(f"{template}.2", MessageState.UNKNOWN))
    assert not isinstance(talk.does(Resolve(template, "resend", OLENA)), Refusal)


def test_only_the_clients_own_messages_open_it() -> None:
    talk = talk_of()
    talk.does(came())
    at(talk, 25)
    talk.does(echoed(AuthorKind.OPERATOR, "900", sent_at=talk.now))
    talk.does(reacted("900", "👍", talk.now))
    talk.does(recalled("800", at=talk.now))
    assert talk.refused(reply()).code == "window_closed"
    talk.does(came("2", sent_at=talk.now))
    assert not isinstance(talk.does(reply()), Refusal)


def test_the_newest_message_counts_although_many_older_ones_come_after_it() -> None:
    talk = talk_of()
    talk.does(came("1", sent_at=NOON))
    for number in range(2, 30):
        talk.does(came(str(number), sent_at=NOON - timedelta(hours=number)))
    at(talk, 23)
    assert not isinstance(talk.does(reply()), Refusal)


def test_a_message_between_old_ones_and_the_newest_is_no_stumbling_block() -> None:
    talk = talk_of()
    talk.does(came("1", sent_at=NOON))
    for number in range(2, 9):
        talk.does(came(str(number), sent_at=NOON - timedelta(hours=2)))
    talk.does(came("9", sent_at=NOON - timedelta(hours=1)))
    at(talk, 23.9)
    assert not isinstance(talk.does(reply()), Refusal)


def test_a_clock_that_is_ahead_does_not_hold_the_window_open() -> None:
    talk = talk_of()
    talk.does(came("1", sent_at=NOON + timedelta(days=3)))
    at(talk, 25)
    assert talk.refused(reply()).code == "window_closed"


def test_a_client_who_never_wrote_gets_a_template_only() -> None:
    talk = talk_of()
    talk.does(recalled("800"))
    refusal = talk.refused(reply())
    assert refusal.detail.startswith("Клієнт ще не писав у цей канал: надішліть шаблон")
    assert not isinstance(talk.does(reply(template=TEMPLATE)), Refusal)


def test_a_chat_of_before_arrivals_were_kept_is_not_locked() -> None:
    talk = talk_of()
    talk.does(came())
    at(talk, 1_000)
    talk.state = replace(talk.state, arrivals=())
    assert window_of(talk.state, CLOUD_DOOR, talk.now).open
    assert not isinstance(talk.does(reply()), Refusal)


def test_the_row_says_until_when() -> None:
    talk = talk_of()
    talk.does(came())
    until = NOON + DAY - MARGIN
    for now, is_open, code in ((talk.now, True, None), (until, False, "window_closed")):
        view = row_view(talk.state, "WhatsApp", window_of(talk.state, CLOUD_DOOR, now))
        row = ConversationRow.model_validate(view)
        assert (row.window.open, row.window.until, row.window.code) == (is_open, until, code)


def test_a_blocked_client_is_blocked_first() -> None:
    talk = talk_of()
    talk.does(came())
    talk.state = replace(talk.state, blocked=True)
    at(talk, 30)
    assert window_of(talk.state, CLOUD_DOOR, talk.now).code == "bot_blocked"
    assert talk.refused(reply(template=TEMPLATE)).code == "bot_blocked"


def test_arrivals_keep_their_order_with_the_newest_among_them() -> None:
    talk = talk_of()
    for number in range(1, 20):
        talk.does(came(str(number), sent_at=NOON - timedelta(milliseconds=number)))
    kept = talk.state.arrivals
    assert len(kept) <= 8
    assert Arrival(1, NOON - timedelta(milliseconds=1), kept[0].pos_at) == kept[0]


def test_a_template_goes_out_alone_and_a_place_with_its_kind() -> None:
    talk = talk_of()
    talk.does(came())
    place = Place(50.45, 30.52, "Салон", None)
    both = reply(template=TEMPLATE, place=place)
    assert talk.refused(both).status == 422
    assert talk.refused(reply(words="", template=None)).status == 422
    assert talk.refused(reply(note=True, place=place)).status == 422
    talk.does(reply(words="", place=place))
    message = talk.state.messages[talk.answer_id]
    assert (message.body.kind, message.body.place) == ("location", place)


def test_the_key_of_a_send_is_bound_to_all_it_carries() -> None:
    talk = talk_of()
    talk.does(came())
    sent = reply(template=TEMPLATE)
    talk.does(sent)
    assert talk.does(sent) == ()
    other = replace(TEMPLATE, values=(TemplateValue("body", 0, None, "Іра"),))
    for changed in (reply(template=other), reply()):
        assert talk.refused(changed).code == "client_msg_id_reused"


# ------------------------------------------------------------ the messenger's own word


def refused_as_too_late(order: str, **more: Any) -> DeliveryReported:
    return reported(order, MessageState.FAILED, failure=TOO_LATE, **more)


@pytest.mark.parametrize("is_late_refusal", [False, True])
def test_an_answer_refused_as_too_late_shuts_the_window_until_the_client_writes(
    is_late_refusal: bool,
) -> None:
    talk = talk_of()
    talk.does(came("1"))
    talk.does(reply())
    if is_late_refusal:
        talk.does(reported(talk.answer_id, MessageState.SENT))
    talk.does(refused_as_too_late(talk.answer_id, is_late_refusal=is_late_refusal))
    # By our own count there would be a day left.
    assert window_of(talk.state, CLOUD_DOOR, talk.now) == Window(open=False, code="window_closed")
    refusal = talk.refused(reply(client_msg_id="key-0002"))
    assert (refusal.status, refusal.code) == (409, "window_closed")
    assert refusal.detail == (
        "Месенджер каже, що час для відповіді минув: надішліть шаблон або дочекайтеся повідомлення клієнта."
    )
    assert talk.refused(Retry(talk.answer_id, OLENA)).code == "window_closed"
    assert not isinstance(talk.does(reply(client_msg_id="key-0003", note=True)), Refusal)
    assert not isinstance(talk.does(reply(client_msg_id="key-0004", template=TEMPLATE)), Refusal)
    assert STATE.validate_python(state_document(talk.state) | {"id": CONVERSATION}).is_shut

    talk.does(came("2", sent_at=talk.now))
    assert "is_shut" not in state_document(talk.state)
    assert not isinstance(talk.does(reply(client_msg_id="key-0005")), Refusal)


def test_a_shut_window_says_since_when_only_if_that_is_past() -> None:
    talk = talk_of()
    talk.does(came())
    talk.does(reply())
    talk.does(refused_as_too_late(talk.answer_id))
    until = NOON + DAY - MARGIN
    assert window_of(talk.state, CLOUD_DOOR, until - timedelta(seconds=1)).until is None
    assert window_of(talk.state, CLOUD_DOOR, until).until == until
    # Also of a messenger that announced no window, or has not announced itself yet.
    assert window_of(talk.state, Door(), talk.now).code == "window_closed"


def test_a_refusal_shuts_nothing_the_client_may_have_opened_meanwhile() -> None:
    talk = talk_of()
    talk.does(came("1"))
    talk.does(reply())
    talk.does(came("2"))
    talk.does(refused_as_too_late(talk.answer_id))
    assert talk.state.messages[talk.answer_id].state is MessageState.FAILED
    assert not isinstance(talk.does(reply(client_msg_id="key-0002")), Refusal)


def test_what_is_no_news_or_no_free_answer_shuts_nothing() -> None:
    talk = talk_of()
    talk.does(came())
    talk.does(reply())
    talk.does(reported(talk.answer_id, MessageState.DELIVERED))
    assert talk.does(refused_as_too_late(talk.answer_id, is_late_refusal=True)) == ()
    talk.does(reply(client_msg_id="key-0002", template=TEMPLATE))
    (template,) = (m.id for m in talk.state.messages.values() if m.template is not None)
    talk.does(refused_as_too_late(template))
    talk.does(reply(client_msg_id="key-0003"))
    rejected = Failure(code=FailureCode.REJECTED, text="Надто довге.")
    third = max(talk.state.messages.values(), key=lambda message: message.n).id
    talk.does(reported(third, MessageState.FAILED, failure=rejected))
    assert window_of(talk.state, CLOUD_DOOR, talk.now).open


def test_a_repeat_of_the_refusal_says_nothing_new() -> None:
    talk = talk_of()
    talk.does(came())
    talk.does(reply())
    refusal = refused_as_too_late(talk.answer_id)
    assert [event.type for event in talk.done(refusal)] == ["delivery.changed", "window.shut"]
    assert talk.does(refusal) == ()
