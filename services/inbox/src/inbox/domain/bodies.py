"""What a message says and who it is from or to: the messenger's words as ours, and edits that came early."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from inbox.domain.events import Edited, Event, Withdrawn
from inbox.domain.pieces import Attachment, Body, ContactCard, Entity, Place, SharedContact, SharedLink
from inbox.domain.state import Known, ParkedDeletion
from msgkit.contracts.events import Contact, Content
from msgkit.contracts.ids import attachment_id
from msgkit.contracts.words import MessageKind

NAMELESS: Final = "Без імені"


def to_body(content: Content, message_id: str) -> Body:
    """The files of a message are named after it; those of an inbound one are still to be fetched."""
    place, shared, link = content.place, content.shared_contact, content.shared_link
    return Body(
        kind=content.kind,
        text=content.text,
        entities=tuple(Entity(e.kind, e.offset, e.length, e.url) for e in content.entities)
        if content.entities
        else (),
        attachments=tuple(
            Attachment(
                id=attachment_id(message_id, ref.ref),
                ref=ref.ref,
                kind=ref.kind,
                name=ref.name,
                mime=ref.mime,
                size=ref.size_bytes,
                width=ref.width,
                height=ref.height,
                duration_s=ref.duration_s,
            )
            for ref in content.media
        )
        if content.media
        else (),
        unsupported=content.unsupported,
        place=None if place is None else Place(place.latitude, place.longitude, place.title, place.address),
        shared_contact=None if shared is None else SharedContact(shared.name, shared.phone, shared.is_own),
        shared_link=None if link is None else SharedLink(link.kind, link.title, link.url),
    )


def to_card(state: Known, contact: Contact, content: Content) -> ContactCard:
    """Who it is. What is known once stays: many messages of many messengers do not repeat it."""
    shared = content.shared_contact
    phone = contact.phone
    if shared is not None and shared.is_own and shared.phone is not None:
        phone = shared.phone
    elif phone is None and state.contact is not None:
        phone = state.contact.phone
    known = state.contact
    if contact.name or known is None:
        return ContactCard(contact.key, contact.name or NAMELESS, contact.username, phone, contact.language)
    # A message that does not say who wrote it takes nothing back of what a profile said.
    return ContactCard(
        contact.key, known.name, contact.username or known.username, phone, contact.language or known.language
    )


def edited_body(body: Body, before: Body) -> Body:
    """What an edit says, with what it need not repeat: files fetched already, what the message points at."""
    if not body.attachments and body.kind is MessageKind.TEXT and before.attachments:
        body = replace(body, kind=before.kind, attachments=before.attachments)
    if body.shared_link is None and before.shared_link is not None:
        body = replace(body, shared_link=before.shared_link)
    known = {one.id: one for one in before.attachments}
    if not known.keys() & {one.id for one in body.attachments}:
        return body
    # A caption is edited more often than its photo.
    return replace(body, attachments=tuple(known.get(one.id, one) for one in body.attachments))


def early_changes(state: Known, provider_id: str, message_id: str, body: Body) -> list[Event]:
    """What waited for this message: that it was taken back, or else its edits that change something."""
    events: list[Event] = []
    for deletion in state.parked_deletions:
        if deletion.provider_id == provider_id:
            return [early_withdrawal(message_id, deletion)]
    if not state.parked_edits:
        return events
    waiting = [edit for edit in state.parked_edits if edit.provider_id == provider_id]
    for index, edit in enumerate(sorted(waiting, key=lambda edit: edit.edited_at)):
        told = edited_body(edit.body, body)
        if told == body:
            continue
        body = told
        events.append(
            Edited(
                dedupe_id=f"edit-applied:{message_id}:{index}",
                message_id=message_id,
                edited_at=edit.edited_at,
                body=body,
            )
        )
    return events


def early_withdrawal(message_id: str, deletion: ParkedDeletion) -> Withdrawn:
    return Withdrawn(
        dedupe_id=f"withdrawn-applied:{message_id}",
        message_id=message_id,
        withdrawn_at=deletion.withdrawn_at,
    )
