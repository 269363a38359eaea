"""System messages: somebody moved to another number, or got another id. Pure. Source: fact sheet 1.4, 3."""

from __future__ import annotations

from ingest_whatsapp.envelope import Frame
from ingest_whatsapp.identity import Ids, Person, ids_of, of_sender
from ingest_whatsapp.phones import e164, same_phone
from msgkit.connector.contract import Parsed
from msgkit.connector.raw import Node, node, opaque, text
from msgkit.contracts.events import ContactChanged

_MOVED = frozenset({"user_changed_number", "customer_changed_number", "user_changed_user_id"})
"""The last where no phone may be shown: a user id changes with the number. The second is the old name."""


def to_change(message: Node, frame: Frame) -> Parsed:
    """A system message, which comes without `contacts`."""
    told = node(message.get("system"))
    kind = text(told.get("type"))
    if kind == "customer_identity_changed":
        return Parsed(counted=("customer_identity_changed",))
    if kind not in _MOVED:
        return Parsed(counted=("system_unknown",))
    wamid = opaque(message.get("id"))
    if wamid is None:
        return Parsed(quarantine="a system message without its id")
    now = ids_of(told.get("wa_id"), told.get("user_id"))
    before = _before(message, told, now)
    if not now:
        return Parsed(counted=("system_of_nobody",))
    at = frame.moment(message)
    person = Person(now, "", None)
    event_type = "contact.changed.v1"
    stays = same_phone(now.phone, of_sender(message).phone)
    event = ContactChanged(
        **frame.common(message, person.key, wamid, event_type),
        contact=person.contact(),
        previous_phone=None if stays else e164(before.phone),
        is_new_number=not stays,
        happened_at=at,
    )
    return Parsed(events=(event,), counted=(kind,), people=(person.seen(at, retired=before),))


def _before(message: Node, told: Node, now: Ids) -> Ids:
    """The ids until now: `from` has the old phone, or the new id where there is none to show."""
    sender = of_sender(message)
    previous = ids_of(None, told.get("previous_user_id"))
    bsuid = previous.bsuid or sender.bsuid
    phone = sender.phone
    return Ids(None if bsuid == now.bsuid else bsuid, None if phone == now.phone else phone)
