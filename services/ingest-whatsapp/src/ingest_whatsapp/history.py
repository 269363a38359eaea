"""What the Business app told when the number was connected: past dialogues and the address book. Pure.

Source: fact sheet 1.4, «Coexistence».
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ingest_whatsapp.content import to_content
from ingest_whatsapp.envelope import Frame
from ingest_whatsapp.identity import Ids, People, Person, ids_of, of_sender, of_target
from ingest_whatsapp.payloads import NAME_MAX_CHARS, digits_of
from ingest_whatsapp.refusals import HISTORY_DECLINED
from msgkit.connector.contract import Parsed
from msgkit.connector.raw import Node, integer, is_node, items, node, opaque, text, words
from msgkit.contracts.events import ContactChanged, MessageRecalled
from msgkit.contracts.words import Direction, MessageState

_STATES: Final[dict[str, Any]] = {
    "SENT": MessageState.SENT,
    "PENDING": MessageState.SENT,
    "DELIVERED": MessageState.DELIVERED,
    "READ": MessageState.READ,
    "PLAYED": MessageState.READ,
    "ERROR": MessageState.FAILED,
}
_NO_MESSAGES = frozenset({"reaction", "edit", "revoke", "system"})
"""What happened to a message long ago says nothing any more."""


def to_history(frame: Frame) -> Iterator[Parsed]:
    """A change of the field `history`: chunks of threads, or the files of messages told before."""
    people = People(frame.value.get("contacts"))
    for chunk in items(frame.value.get("history")):
        yield Parsed(counted=("history_chunk",))
        if errors := items(node(chunk).get("errors")):
            yield _to_refusal(errors)
        for thread in items(node(chunk).get("threads")):
            ids = ids_of(node(thread).get("id"), node(thread).get("user_id"))
            for message in items(node(thread).get("messages")):
                yield _to_recalled(message, frame, people, ids)
    for message in items(frame.value.get("messages")):
        yield _to_recalled(message, frame, people, Ids(None, None))


def _to_refusal(errors: list[Any]) -> Parsed:
    """No history comes. That is no fault of the account, and nothing would end an alert: it is counted."""
    codes = {integer(node(error).get("code")) for error in errors}
    return Parsed(counted=("history_declined" if HISTORY_DECLINED in codes else "history_refused",))


def to_address_book(frame: Frame) -> Iterator[Parsed]:
    """A change of the field `smb_app_state_sync`: names under which the owner keeps the clients."""
    for told in items(frame.value.get("state_sync")):
        yield _to_card(node(told), frame)


def _to_recalled(message: object, frame: Frame, people: People, thread: Ids) -> Parsed:
    if not is_node(message):
        return Parsed(quarantine="a message of the history that is no object")
    if message.get("group_id"):
        return Parsed(counted=("group",))
    if text(message.get("type")) in _NO_MESSAGES:
        return Parsed(counted=("history_skipped",))
    wamid = opaque(message.get("id"))
    if wamid is None:
        return Parsed(quarantine="a message of the history without its id")
    ours = frame.change.display_digits
    sender = digits_of(message.get("from"))
    is_out = sender == ours if ours else bool(thread) and not of_sender(message).meets(thread)
    person = people.find((of_target(message) if is_out else of_sender(message)).also(thread))
    if person is None:
        return Parsed(quarantine="a message of the history without its contact")
    at = frame.moment(message)
    content = to_content(message, senders_phone=None if is_out else person.ids.phone)
    event_type = "message.recalled.v1"
    # The files come later as the same message: that is another event.
    key = f"{wamid}:files" if content.media else wamid
    told_state = text(node(message.get("history_context")).get("status")) or ""
    event = MessageRecalled(
        **frame.common(message, person.key, key, event_type),
        contact=person.contact(),
        provider_id=wamid,
        provider_seq=int(at.timestamp()),
        sent_at=at,
        direction=Direction.OUT if is_out else Direction.IN,
        content=content,
        state=_STATES.get(told_state.upper(), MessageState.SENT),
    )
    return Parsed(events=(event,), people=(person.seen(at),))


def _to_card(told: Node, frame: Frame) -> Parsed:
    card = node(told.get("contact"))
    ids = ids_of(digits_of(card.get("phone_number")), None)
    name = words(card.get("full_name"), NAME_MAX_CHARS) or words(card.get("first_name"), NAME_MAX_CHARS)
    if told.get("action") == "remove" or not ids or name is None:
        return Parsed(counted=("address_book_skipped",))
    at = frame.moment(node(told.get("metadata")))
    person = Person(ids, name, None)
    event_type = "contact.changed.v1"
    event = ContactChanged(
        # There is no id of a message here; the same state of the book is the same event.
        **frame.common(told, person.key, f"book:{ids.phone}:{int(at.timestamp())}:{name}", event_type),
        contact=person.contact(),
        previous_phone=None,
        is_new_number=False,
        happened_at=at,
    )
    # Most of them never wrote to the salon: the kit names those who did, and keeps nothing of the others.
    seen = person.seen(at, is_known_only=True)
    return Parsed(events=(event,), counted=("address_book",), people=(seen,))
