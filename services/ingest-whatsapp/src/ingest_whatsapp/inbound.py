"""A WhatsApp webhook becomes our events. Pure, and never fails: what is odd becomes a placeholder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from ingest_whatsapp import alerts, envelope
from ingest_whatsapp.content import own_phone, reply_value, to_content, to_placeholder
from ingest_whatsapp.envelope import Change, Frame
from ingest_whatsapp.history import to_address_book, to_history
from ingest_whatsapp.identity import People, Person, of_sender, of_target, same_people
from ingest_whatsapp.payloads import NUMBER_PREFIX, WORD_MAX_CHARS
from ingest_whatsapp.phones import same_phone
from ingest_whatsapp.statuses import to_receipt
from ingest_whatsapp.system import to_change
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.raw import Node, is_node, items, node, opaque, short, text
from msgkit.contracts.events import (
    ButtonPress,
    Contact,
    Content,
    InboundEvent,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ReactionChanged,
)
from msgkit.contracts.words import AuthorKind

STANDBY = "standby"
"""Meta's agent holds the thread: the same shapes as `messages` and `message_echoes` (fact sheet 1.4)."""
_TALKS = frozenset({"messages", STANDBY, "smb_message_echoes", "message_echoes"})


@dataclass(frozen=True, slots=True)
class _Said:
    """One element of `messages[]` or `message_echoes[]` with what surrounds it."""

    told: Node
    wamid: str
    person: Person
    frame: Frame
    is_echo: bool


def to_parsed(request: WebhookRequest, account: Account) -> Parsed:
    """Translate one webhook, or the part of one that is about this account.

    Args:
        request: the webhook; its signature was checked.
        account: the number it came to.

    Raises:
        PayloadInvalid: not JSON, or not a webhook of WhatsApp.

    Source: fact sheet 1.4.
    """
    changes = envelope.changes_of(request.body)
    if not changes:
        return Parsed(counted=("test" if envelope.is_test(request.body) else "empty",))
    parts = [part for change in changes for part in _of_change(Frame(change, request, account))]
    reasons = dict.fromkeys(part.quarantine for part in parts if part.quarantine is not None)
    return Parsed(
        events=tuple(event for part in parts for event in part.events),
        counted=tuple(name for part in parts for name in part.counted),
        quarantine="; ".join(reasons) or None,
        receipts=tuple(receipt for part in parts for receipt in part.receipts),
        people=same_people(person for part in parts for person in part.people),
        alerts=tuple(alert for part in parts for alert in part.alerts),
    )


def _of_change(frame: Frame) -> Iterator[Parsed]:
    change = frame.change
    if change.value is None:
        yield Parsed(quarantine="a change without a value")
    elif not _is_ours(change, frame.account):
        yield Parsed(counted=("other_account",))
    elif change.field == "account_update":
        yield alerts.to_alerts(frame)
    elif change.field in alerts.COUNTED_FIELDS:
        yield Parsed(counted=(change.field,))
    elif change.phone_number_id is None:
        yield _nobodys(change)
    elif change.field in _TALKS:
        yield from _of_talk(frame)
    elif change.field == "history":
        yield Parsed(counted=("history",))
        yield from to_history(frame)
    elif change.field == "smb_app_state_sync":
        yield Parsed(counted=("smb_app_state_sync",))
        yield from to_address_book(frame)
    else:
        yield Parsed(counted=("unknown_field",))


def _is_ours(change: Change, account: Account) -> bool:
    if change.phone_number_id is not None:
        return change.phone_number_id == account.account_id
    if change.waba_id is not None and change.waba_id != account.credentials.get("waba_id"):
        return False
    told = change.display_digits
    ours = [
        name.removeprefix(NUMBER_PREFIX) for name in account.also_known_as if name.startswith(NUMBER_PREFIX)
    ]
    # At an address of a tenant's own app nobody has asked yet which number of the account it is about.
    return not told or not ours or any(same_phone(told, one) for one in ours)


def _nobodys(change: Change) -> Parsed:
    """About no number at all, though only a number can have such a thing."""
    if change.field in _TALKS or change.field in {"history", "smb_app_state_sync"}:
        return Parsed(quarantine=f"a change of {change.field} that names no number")
    return Parsed(counted=("unknown_field",))


def _of_talk(frame: Frame) -> Iterator[Parsed]:
    value = frame.value
    people = People(value.get("contacts"))
    said = [(message, False) for message in items(value.get("messages"))]
    said += [(echo, True) for echo in items(value.get("message_echoes"))]
    statuses = items(value.get("statuses"))
    for told, is_echo in said:
        yield _of_element(told, frame, people, is_echo=is_echo)
    for status in statuses:
        if is_node(status):
            yield to_receipt(status, frame, people)
        else:
            yield Parsed(quarantine="a status that is no object")
    if not said and not statuses:
        yield alerts.to_problems(frame) if items(value.get("errors")) else Parsed(counted=("empty",))


def _of_element(told: object, frame: Frame, people: People, *, is_echo: bool) -> Parsed:
    if not is_node(told):
        return Parsed(quarantine="a message that is no object")
    if told.get("group_id"):
        return Parsed(counted=("group",))
    if told.get("type") == "system" and not is_echo:
        return to_change(told, frame)
    wamid = opaque(told.get("id"))
    person = people.find(of_target(told) if is_echo else of_sender(told))
    if wamid is None or person is None:
        lacks = "its id" if wamid is None else "a phone or a user id"
        return Parsed(quarantine=f"a message without {lacks}")
    return _of_said(_Said(told, wamid, person, frame, is_echo))


def _of_said(said: _Said) -> Parsed:
    kind = text(said.told.get("type")) or ""
    if kind not in _CHANGES:
        return _to_message(said)
    changed = _CHANGES[kind](said)
    if changed is None:
        return Parsed(quarantine=f"a {kind} of no message")
    return Parsed(events=(changed,), people=(said.person.seen(said.frame.moment(said.told)),))


# --- messages


def _to_message(said: _Said) -> Parsed:
    told, frame, person = said.told, said.frame, said.person
    content = to_content(told, senders_phone=None if said.is_echo else person.ids.phone)
    event = _echoed(said, content) if said.is_echo else _received(said, content)
    counted = ("referral",) if is_node(told.get("referral")) else ()
    return Parsed(events=(event,), counted=counted, people=(person.seen(frame.moment(told)),))


def _received(said: _Said, content: Content) -> MessageReceived:
    told, frame = said.told, said.frame
    at, quoted = frame.moment(told), _quoted(told)
    value = reply_value(told)
    return MessageReceived(
        **_common(said, "message.received.v1"),
        contact=_contact(said, content),
        provider_id=said.wamid,
        provider_seq=int(at.timestamp()),
        sent_at=at,
        content=content,
        reply_to_provider_id=quoted,
        # From an advertisement: its id, as other messengers tell what led the client here.
        start_payload=opaque(node(told.get("referral")).get("source_id"), WORD_MAX_CHARS),
        group_id=None,
        pressed=None if value is None else ButtonPress(value=value, message_provider_id=quoted),
        is_standby=frame.change.field == STANDBY,
    )


def _echoed(said: _Said, content: Content) -> MessageEchoed:
    frame = said.frame
    at = frame.moment(said.told)
    return MessageEchoed(
        **_common(said, "message.echoed.v1"),
        contact=_contact(said, None),
        provider_id=said.wamid,
        provider_seq=int(at.timestamp()),
        sent_at=at,
        # In standby it is Meta's agent that answers, in the Business app a person.
        author_kind=AuthorKind.BOT if frame.change.field == STANDBY else AuthorKind.OPERATOR,
        content=content,
        buttons=[],
        reply_to_provider_id=_quoted(said.told),
    )


# --- what happens to messages


def _to_reaction(said: _Said) -> ReactionChanged | None:
    reaction = node(said.told.get("reaction"))
    target = opaque(reaction.get("message_id"))
    if target is None:
        return None
    return ReactionChanged(
        **_common(said, "message.reacted.v1"),
        contact=_contact(said, None),
        provider_id=target,
        author_kind=AuthorKind.OPERATOR if said.is_echo else AuthorKind.CLIENT,
        # Taken off: without the key, or with an empty string (fact sheet 1.4).
        emoji=short(reaction.get("emoji"), WORD_MAX_CHARS),
        reacted_at=said.frame.moment(said.told),
    )


def _to_edit(said: _Said) -> MessageEdited | None:
    edit = node(said.told.get("edit"))
    target, message = opaque(edit.get("original_message_id")), edit.get("message")
    if target is None:
        return None
    content = to_content(message) if is_node(message) else to_placeholder("edit", said.told)
    return MessageEdited(
        **_common(said, "message.edited.v1"),
        contact=_contact(said, None),
        provider_id=target,
        edited_at=said.frame.moment(said.told),
        content=content,
    )


def _to_deletion(said: _Said) -> MessageDeleted | None:
    target = opaque(node(said.told.get("revoke")).get("original_message_id"))
    if target is None:
        return None
    return MessageDeleted(
        **_common(said, "message.deleted.v1"),
        contact=_contact(said, None),
        provider_id=target,
        deleted_at=said.frame.moment(said.told),
    )


_CHANGES: dict[str, Callable[[_Said], InboundEvent | None]] = {
    "reaction": _to_reaction,
    "edit": _to_edit,
    "revoke": _to_deletion,
}


# --- shared


def _quoted(told: Node) -> str | None:
    """The message this one answers; a forwarded one names none (fact sheet 1.4)."""
    return opaque(node(told.get("context")).get("id"))


def _contact(said: _Said, content: Content | None) -> Contact:
    return said.person.contact(None if content is None else own_phone(content))


def _common(said: _Said, event_type: str) -> dict[str, Any]:
    return said.frame.common(said.told, said.person.key, said.wamid, event_type)
