"""A conversation as others see it: the views of msgkit.contracts.views as plain values."""

from __future__ import annotations

from typing import Any, Final

from inbox.domain.bodies import NAMELESS
from inbox.domain.commands import Messenger
from inbox.domain.pieces import Attachment, Author, Button, ContactCard, Place, SharedContact, SharedLink
from inbox.domain.state import Message, State
from inbox.domain.windows import Window
from msgkit.contracts.words import AttachmentState, AuthorKind

NO_MESSENGER: Final = Messenger()
View = dict[str, Any]
"""A view of msgkit.contracts.views as plain values, ready to be serialised once.

Words are plain strings: the serialiser takes thirty times as long for a member of an enumeration.
"""


LOST_TEXTS: Final[dict[str, str]] = {
    "gone": "Файл більше недоступний у месенджері. Попросіть клієнта надіслати його ще раз.",
    "too_big": "Файл завеликий. Попросіть клієнта надіслати менший або посилання на нього.",
    "dangerous": "Файл небезпечний, тому його не збережено. Попросіть клієнта надіслати інший.",
    "unreadable": "Файл пошкоджений. Попросіть клієнта надіслати його ще раз.",
    "unavailable": "Файл не вдалося завантажити. Попросіть клієнта надіслати його ще раз.",
}
"""Why a file is lost, and what to do; the words of MediaSettled."""


def message_view(message: Message) -> View:
    """A MessageView as plain values."""
    body, is_there = message.body, not message.is_gone and message.replaced_by is None
    return {
        "id": message.id,
        "n": message.n,
        "in_seq": message.in_seq,
        "pos_at": message.pos_at,
        "conversation_id": message.conversation_id,
        "request_id": message.request_id,
        "client_msg_id": message.client_msg_id,
        "direction": message.direction.value,
        "author": _author_view(message.author),
        "kind": body.kind.value,
        "text": body.text if is_there else "",
        "attachments": [_attachment_view(one) for one in body.attachments]
        if body.attachments and is_there
        else [],
        "place": _place_view(body.place) if body.place is not None and is_there else None,
        "shared_contact": _shared_view(body.shared_contact)
        if body.shared_contact is not None and is_there
        else None,
        "shared_link": _link_view(body.shared_link) if body.shared_link is not None and is_there else None,
        "buttons": [[_button_view(button) for button in row] for row in message.buttons]
        if message.buttons and is_there
        else [],
        "group_id": message.group_id,
        "unsupported": body.unsupported,
        "reply_to": message.reply_to,
        "quote": None
        if message.quote is None
        else {"text": message.quote.text, "author": message.quote.author},
        "reactions": [sign.emoji for sign in message.signs if sign.emoji is not None]
        if message.signs
        else [],
        "provider_id": message.provider_ids[0] if message.provider_ids else None,
        "provider_time": message.provider_time,
        "created_at": message.created_at,
        "late": message.late,
        "state": message.state.value,
        "failure": None
        if message.failure is None
        else {"code": message.failure.code.value, "text": message.failure.text},
        "edited": message.edited_at is not None,
        "versions": [{"text": version.text, "at": version.at} for version in message.versions],
        "deleted": not is_there,
        "replaced_by": message.replaced_by,
        "rev": message.rev,
    }


def _button_view(button: Button) -> View:
    return {"text": button.text, "url": button.value if button.action == "url" else None}


def _place_view(place: Place) -> View:
    return {
        "latitude": place.latitude,
        "longitude": place.longitude,
        "title": place.title,
        "address": place.address,
    }


def _shared_view(shared: SharedContact) -> View:
    return {"name": shared.name, "phone": shared.phone, "is_own": shared.is_own}


def _author_view(author: Author) -> View:
    # A contact nobody had named when it came: the row knows what to call him now.
    name = None if author.kind is AuthorKind.CLIENT and author.name == NAMELESS else author.name
    return {"kind": author.kind.value, "id": author.id, "name": name}


def _link_view(link: SharedLink) -> View:
    return {"kind": link.kind, "title": link.title, "url": link.url}


def _attachment_view(attachment: Attachment) -> View:
    is_ready = attachment.state is AttachmentState.READY
    url = f"/api/v1/media/{attachment.id}/url"
    return {
        "id": attachment.id,
        "kind": attachment.kind.value,
        "name": attachment.name,
        "mime": attachment.mime,
        "size": attachment.size,
        "width": attachment.width,
        "height": attachment.height,
        "duration_s": attachment.duration_s,
        "state": attachment.state.value,
        "problem": None
        if attachment.lost is None
        else LOST_TEXTS.get(attachment.lost, LOST_TEXTS["unavailable"]),
        "url": url if is_ready else None,
        "thumb_url": f"{url}?variant=thumb" if is_ready and attachment.thumb_key is not None else None,
    }


def row_view(
    state: State, channel_title: str, window: Window | None = None, messenger: Messenger = NO_MESSENGER
) -> View:
    """A ConversationRow as plain values; only of a conversation with messages.

    Args:
        channel_title: as its administrator calls the channel.
        window: whether an answer may go out at the moment of the view; None: no window of the messenger.
        messenger: what names a contact who has no name.
    """
    if window is None:
        window = Window(open=not state.blocked, code="bot_blocked" if state.blocked else None)
    contact, request, last = state.contact, state.request, state.last_message
    name = "" if contact is None else shown_name(contact, messenger)
    assignee = state.assignee
    return {
        "id": state.id,
        "v": state.v,
        "title": name,
        "channel": {"id": state.channel_id, "kind": state.channel_kind, "title": channel_title},
        "contact": {
            "name": name,
            "username": contact.username if contact else None,
            "phone": contact.phone if contact else None,
            "avatar_url": None,
            "blocked": state.blocked,
        },
        "client": None,
        "handler": state.handler.value,
        "status": state.status.value,
        "box": box.value if (box := state.box) is not None else None,
        "assignee": None if assignee is None else {"id": assignee.id, "name": assignee.name},
        "request": None
        if request is None
        else {
            "id": request.id,
            "number": request.number,
            "opened_at": request.opened_at,
            "first_reply_at": request.first_reply_at,
        },
        "last_message": None
        if last is None
        else {
            "id": last.id,
            "n": last.n,
            "text": last.text,
            "kind": last.kind.value,
            "direction": last.direction.value,
            "author": _author_view(last.author),
            "at": last.at,
            "state": last.state.value,
        },
        "activity_at": state.activity_at,
        "in_seq": state.in_seq,
        "answered_seq": state.answered_seq,
        "window": {"open": window.open, "until": window.until, "code": window.code},
        "rev": state.v,
    }


def shown_name(contact: ContactCard, messenger: Messenger) -> str:
    """What people call a contact: by the name, else the name at the messenger, else where they write from."""
    if contact.name != NAMELESS:
        return contact.name
    return contact.username or (f"Клієнт {messenger.title}" if messenger.title else NAMELESS)


def unread(state: State, mark: int) -> int:
    """How many messages of the client one operator has not read; any operator's answer reads for all."""
    return max(0, state.in_seq - max(mark, state.answered_seq)) if state.is_unanswered else 0
