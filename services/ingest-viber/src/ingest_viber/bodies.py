"""A request as Viber's JSON, and how many bytes of it a text takes. Pure."""

from __future__ import annotations

import json
from typing import Any

from ingest_viber.payloads import FileKind, Request


def to_body(request: Request, media_url: str | None = None) -> dict[str, Any]:
    """The JSON of send_message.

    Args:
        request: what to send.
        media_url: where the phone fetches the file, if there is one.

    Source: developers.viber.com/docs/api/rest-bot-api, send message; fact sheet 3.6.
    """
    body: dict[str, Any] = {"receiver": request.receiver} if request.receiver else {}
    if request.min_api_version > 1:
        # Said only where it is needed: a phone below it does not get the message at all.
        body["min_api_version"] = request.min_api_version
    body |= {"sender": {"name": request.sender_name}, "tracking_data": request.tracking}
    file = request.file
    if file is None:
        body |= {"type": "text", "text": request.text}
    elif file.kind is FileKind.PICTURE:
        body |= {"type": "picture", "text": request.text, "media": media_url}
    elif file.kind is FileKind.VIDEO:
        body |= {"type": "video", "media": media_url, "size": file.size_bytes, "duration": file.duration_s}
    else:
        body |= {"type": "file", "media": media_url, "size": file.size_bytes, "file_name": file.name}
    if request.keyboard is not None:
        body["keyboard"] = request.keyboard
    return body


def to_bytes(body: object) -> bytes:
    """JSON as it goes over the wire: UTF-8, so that a Cyrillic letter takes two bytes and not six."""
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def wire_bytes(said: str) -> int:
    """How many bytes a text takes inside JSON: quotes and line ends take more than one."""
    return len(to_bytes(said)) - 2
