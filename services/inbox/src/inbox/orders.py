"""What connectors must do because of a commit: the orders behind its events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from inbox.domain import (
    AnswerOrdered,
    AnswerReordered,
    Attachment,
    Button,
    Commit,
    Event,
    Place,
    SendsCancelled,
    SharedContact,
    TakenOver,
    Template,
    order_id,
)
from msgkit.contracts import events
from msgkit.contracts.events import CancelSend, OrderedTemplate, OutboundButton, OutboundMedia, SendMessage
from msgkit.contracts.ids import derived_id
from msgkit.contracts.topology import SENDS, channel_key
from msgkit.runtime.bus import Outgoing

_ORDERS: Final = (AnswerOrdered, AnswerReordered, SendsCancelled, TakenOver)


def has_orders(happened: Iterable[Event]) -> bool:
    """Whether a connector may have something to do because of these."""
    return any(isinstance(event, _ORDERS) for event in happened)


def orders_of(commit: Commit) -> list[Outgoing]:
    """The orders of a commit, in order; made again they are the same."""
    orders: list[Outgoing] = []
    for event in commit.events:
        order: SendMessage | CancelSend
        match event:
            case AnswerOrdered():
                order = _send(commit, event, event.message_id)
            case AnswerReordered():
                order = _send(commit, event, order_id(event.message_id, event.attempt))
            case TakenOver() if event.cancelled:
                order = _cancel(commit, event.cancelled)
            case SendsCancelled():
                order = _cancel(commit, event.order_ids)
            case _:
                continue
        orders.append(
            Outgoing(
                SENDS,
                channel_key(commit.channel_kind, commit.channel_id),
                order.model_dump_json().encode(),
                order.event_id,
                order.type,
                commit.trace,
            )
        )
    return orders


def _send(commit: Commit, event: AnswerOrdered | AnswerReordered, order: str) -> SendMessage:
    author_kind = event.author.kind if isinstance(event, AnswerOrdered) else event.author_kind
    place, shared = event.place, event.shared_contact
    return SendMessage(
        type="send.ordered.v1",
        event_id=derived_id("send", order),
        tenant_id=commit.tenant_id,
        channel_id=commit.channel_id,
        channel_kind=commit.channel_kind,
        recorded_at=commit.at,
        conversation_id=commit.conversation_id,
        contact_key=event.contact_key,
        message_id=order,
        out_seq=event.out_seq,
        author_kind=author_kind,
        client_wrote_at=event.client_wrote_at,
        text=event.text,
        media=[_media(attachment) for attachment in event.attachments],
        buttons=[[_button(button) for button in row] for row in event.buttons],
        reply_to_provider_id=event.reply_to_provider_id,
        place=None if place is None else _place(place),
        shared_contact=None if shared is None else _shared(shared),
        template=None if event.template is None else _template(event.template),
        is_reaction=event.is_reaction,
    )


def _media(attachment: Attachment) -> OutboundMedia:
    # A file of an answer is in the object store before the answer is ordered.
    assert attachment.key is not None
    return OutboundMedia(
        attachment_id=attachment.id,
        key=attachment.key,
        kind=attachment.kind,
        name=attachment.name or "",
        mime=attachment.mime or "application/octet-stream",
        size_bytes=attachment.size or 0,
        width=attachment.width,
        height=attachment.height,
        duration_s=attachment.duration_s,
    )


def _place(place: Place) -> events.Place:
    return events.Place(
        latitude=place.latitude, longitude=place.longitude, title=place.title, address=place.address
    )


def _shared(shared: SharedContact) -> events.SharedContact:
    return events.SharedContact(name=shared.name, phone=shared.phone, is_own=shared.is_own)


def _template(template: Template) -> OrderedTemplate:
    values = [
        events.TemplateValue(part=one.part, index=one.index, name=one.name, value=one.value)
        for one in template.values
    ]
    return OrderedTemplate(name=template.name, language=template.language, values=values)


def _button(button: Button) -> OutboundButton:
    return OutboundButton(text=button.text, action=button.action, value=button.value)


def _cancel(commit: Commit, order_ids: Sequence[str]) -> CancelSend:
    return CancelSend(
        type="send.cancelled.v1",
        event_id=derived_id("cancel", commit.conversation_id, str(commit.v), *order_ids),
        tenant_id=commit.tenant_id,
        channel_id=commit.channel_id,
        channel_kind=commit.channel_kind,
        recorded_at=commit.at,
        conversation_id=commit.conversation_id,
        message_ids=list(order_ids),
    )
