"""One call of `/messages` as we plan it, and as WhatsApp's JSON. Pure.

Source: fact sheet 2.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ingest_whatsapp.files import File, FileKind
from ingest_whatsapp.identity import ids_of
from ingest_whatsapp.payloads import BSUID_PREFIX, PHONE_PREFIX
from msgkit.connector.errors import MessageRejected
from msgkit.connector.raw import Node, is_node, text
from msgkit.contracts.words import FailureCode


@dataclass(frozen=True, slots=True)
class Request:
    """One call. A file is uploaded on the way out, so its id is not known yet."""

    recipient: Node
    """`to` with digits or `recipient` with a business-scoped user id, never one in the place of the other."""
    mark: str
    """Comes back with each status, so an answer that was lost is understood."""
    type: str
    content: Any
    """The object that is named like the type; a list for contacts."""
    file: File | None = None
    reply_to: str | None = None

    @property
    def said(self) -> str:
        """The text the client reads."""
        if not is_node(self.content):
            return ""
        told = self.content.get("body") or self.content.get("caption")
        return text(told) or text(told.get("text") if is_node(told) else None) or ""


def to_recipient(address: str) -> Node:
    """Who gets it.

    Args:
        address: `phone:<wa_id>`, `bsuid:<BSUID>`, or either of them bare.

    Raises:
        MessageRejected: it is neither.

    Source: fact sheet 2.3: a user id in `to` is reported to be dropped without a word.
    """
    ids = ids_of(address.removeprefix(PHONE_PREFIX).removeprefix(BSUID_PREFIX), None)
    if ids.phone is not None:
        return {"to": ids.phone}
    if ids.bsuid is not None:
        return {"recipient": ids.bsuid}
    raise MessageRejected(
        FailureCode.RECIPIENT_UNAVAILABLE,
        "Для цього клієнта немає адреси у WhatsApp. Напишіть йому, коли він знову напише.",
    )


def to_body(request: Request, file_id: str | None = None) -> dict[str, Any]:
    """The JSON of the call.

    Args:
        request: what to send.
        file_id: of the upload, for a request with a file.
    """
    content = request.content
    if request.file is not None:
        content = {"id": file_id, **content}
    body: dict[str, Any] = {
        "messaging_product": "whatsapp",
        "recipient_type": "individual",
        **request.recipient,
        "type": request.type,
        request.type: content,
        "biz_opaque_callback_data": request.mark,
    }
    if request.reply_to is not None:
        body["context"] = {"message_id": request.reply_to}
    return body


def of_file(file: File, caption: str) -> dict[str, Any]:
    """The object of a file, without its id."""
    content: dict[str, Any] = {}
    if caption:
        content["caption"] = caption
    if file.kind is FileKind.DOCUMENT:
        content["filename"] = file.name
    if file.is_voice:
        content["voice"] = True
    return content


def to_read_mark(provider_id: str, *, is_typing: bool) -> dict[str, Any]:
    """The JSON that marks a client's message, and all before it, as read; maybe with «typing…» of 25 s."""
    body: dict[str, Any] = {"messaging_product": "whatsapp", "status": "read", "message_id": provider_id}
    return {**body, "typing_indicator": {"type": "text"}} if is_typing else body
