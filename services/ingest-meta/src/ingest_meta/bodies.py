"""One call of `/messages` as we plan it, and as Meta's JSON. Pure.

Source: fact sheet 2.2.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto
from typing import Any, Final

from ingest_meta.files import File
from ingest_meta.payloads import HUMAN_REPLY_WINDOW_HOURS, REPLY_WINDOW_HOURS
from msgkit.connector.raw import Node

REPLY_WINDOW: Final = timedelta(hours=REPLY_WINDOW_HOURS)
HUMAN_REPLY_WINDOW: Final = timedelta(hours=HUMAN_REPLY_WINDOW_HOURS)


class Messaging(Enum):
    """As what a message goes out. Source: fact sheet 2.6."""

    RESPONSE = auto()
    HUMAN_AGENT = auto()


@dataclass(frozen=True, slots=True)
class Request:
    """One call. A file is uploaded on the way out, so its id is not known yet."""

    recipient: str
    """PSID or IGSID."""
    mark: str
    """Comes back with the echo, so an answer that was lost is understood."""
    message: Node
    """Of the body, as far as it is known; empty for an action."""
    file: File | None = None
    reply_to: str | None = None
    action: Node | None = None
    """`sender_action` and its payload, instead of a message."""
    is_by_person: bool = False
    """Written by an operator, who may answer later than a bot."""
    client_wrote_at: datetime | None = None
    """When the client wrote last, as far as known; decides as what it goes out."""

    @property
    def said(self) -> str:
        """The text the client reads."""
        attached = self.message.get("attachment")
        payload = attached.get("payload", {}) if isinstance(attached, dict) else {}
        return str(self.message.get("text") or payload.get("text") or "")


def messaging_of(request: Request, now: datetime, *, may_be_late: bool) -> Messaging:
    """As what this goes out at this moment.

    Args:
        request: what to send.
        now: the moment of the call.
        may_be_late: the account's setting `human_agent`.

    Source: fact sheet 2.6: never on a bot's message, never within 24 hours.
    """
    if not may_be_late or not request.is_by_person or request.client_wrote_at is None:
        return Messaging.RESPONSE
    is_late = now - request.client_wrote_at >= REPLY_WINDOW
    return Messaging.HUMAN_AGENT if is_late else Messaging.RESPONSE


def to_body(request: Request, messaging: Messaging, attachment_id: str | None = None) -> dict[str, Any]:
    """The JSON of the call.

    Args:
        request: what to send.
        messaging: as what.
        attachment_id: of the upload, for a request with a file.
    """
    recipient = {"id": request.recipient}
    if request.action is not None:
        # Such a call holds nothing else (fact sheet 2.2).
        return {"recipient": recipient, **request.action}
    message = dict(request.message)
    if request.file is not None:
        payload = {"attachment_id": attachment_id}
        message = {"attachment": {"type": request.file.kind.value, "payload": payload}, **message}
    body: dict[str, Any] = {"recipient": recipient}
    if messaging is Messaging.HUMAN_AGENT:
        body |= {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
    else:
        body["messaging_type"] = "RESPONSE"
    body["message"] = {**message, "metadata": request.mark}
    if request.reply_to is not None:
        body["reply_to"] = {"mid": request.reply_to}
    return body


def to_signal(recipient: str, action: str) -> dict[str, Any]:
    """The JSON of `mark_seen`, `typing_on`, `typing_off`: recipient and action, nothing else."""
    return {"recipient": {"id": recipient}, "sender_action": action}
