"""Viber's JSON: pure functions from what happened on a phone to the callback a bot receives.

Source: the fact sheet's samples and captured callbacks (`size` not `file_size`, milliseconds of a video,
`file_name` as the word "null", `failed` without `desc`); tests/contract compares the keys.
"""

import hashlib
import hmac
import json

from sandbox.viber.state import API_VERSION, Chat, Hook, Json

PLACEHOLDER_NAME = "Subscriber"
"""Who did not allow his name, or whose bot did not ask for names (`send_name`)."""
PLACEHOLDER_AVATAR = "/viber/generic-avatar%402x.png"
HOSTNAME = "SN-CALLBACK-04_"


def signature(token: str, body: bytes) -> str:
    """Lower-case hex HMAC-SHA256 of the raw body; the key is the token as it is."""
    return hmac.new(token.encode(), body, hashlib.sha256).hexdigest()


def encoded(callback: Json) -> bytes:
    """A callback as it goes over the wire: compact UTF-8."""
    return json.dumps(callback, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")


def webhook(at_ms: int, token: int) -> Json:
    """The check that `set_webhook` makes."""
    return {
        "event": "webhook",
        "timestamp": at_ms,
        "chat_hostname": "SN-CALLBACK-06_",
        "message_token": token,
    }


def message(
    at_ms: int, token: int, chat: Chat, hook: Hook, base: str, content: Json, *, silent: bool
) -> Json:
    """The client's message; the tracking data of the bot's last one comes back in it."""
    tracking = {} if chat.tracking_data is None else {"tracking_data": chat.tracking_data}
    return {
        "event": "message",
        "timestamp": at_ms,
        "chat_hostname": HOSTNAME,
        "message_token": token,
        "sender": user(chat, hook, base, language="uk-UA"),
        "message": {**content, **tracking},
        "silent": silent,
    }


def conversation_started(
    at_ms: int, token: int, chat: Chat, hook: Hook, base: str, context: str | None
) -> Json:
    """The client opened the chat; `context` only when a deep link carried one."""
    return {
        "event": "conversation_started",
        "timestamp": at_ms,
        "chat_hostname": HOSTNAME,
        "message_token": token,
        "type": "open",
        **({} if context is None else {"context": context}),
        "user": user(chat, hook, base),
        "subscribed": chat.subscribed,
    }


def subscribed(at_ms: int, token: int, chat: Chat, hook: Hook, base: str) -> Json:
    """The client pressed start, or subscribed again."""
    return {
        "event": "subscribed",
        "timestamp": at_ms,
        "chat_hostname": HOSTNAME,
        "message_token": token,
        "user": user(chat, hook, base),
    }


def about_message(event: str, at_ms: int, token: int, user_id: str) -> Json:
    """`delivered`, `seen`, `unsubscribed`: they carry nothing else."""
    return {
        "event": event,
        "timestamp": at_ms,
        "chat_hostname": HOSTNAME,
        "message_token": token,
        "user_id": user_id,
    }


def failed(at_ms: int, token: int, user_id: str, desc: str | None) -> Json:
    """The phone could not show a message; the real one has no `desc`, whatever the documentation says."""
    result = {**about_message("failed", at_ms, token, user_id), "udid": None}
    return result if desc is None else {**result, "desc": desc}


def user(chat: Chat, hook: Hook, base: str, language: str = "uk") -> Json:
    """The person; placeholders unless the bot asked for name and photo when it set its webhook."""
    avatar = f"/viber/download_photo?dlid={chat.user.client}&fltp=jpg&imsz=0000"
    return {
        "id": chat.user_id,
        "name": chat.user.full_name if hook.send_name else PLACEHOLDER_NAME,
        "avatar": base + (avatar if hook.send_photo else PLACEHOLDER_AVATAR),
        "language": language,
        "country": "UA",
        "api_version": API_VERSION,
    }


# --- what stands in `message`, by kind


def text(value: str) -> Json:
    """A text."""
    return {"text": value, "type": "text"}


def picture(caption: str, media: str, thumbnail: str, name: str, size_bytes: int) -> Json:
    """A photo with its caption."""
    return {
        "type": "picture",
        "text": caption,
        "media": media,
        "thumbnail": thumbnail,
        "file_name": name,
        "size": size_bytes,
    }


def video(caption: str, media: str, thumbnail: str, size_bytes: int, duration_ms: int) -> Json:
    """A video: its name is the word "null", its duration milliseconds."""
    return {
        "type": "video",
        **({"text": caption} if caption else {}),
        "media": media,
        "thumbnail": thumbnail,
        "file_name": "null",
        "size": size_bytes,
        "duration": duration_ms,
    }


def file(media: str, name: str, size_bytes: int) -> Json:
    """Any other file."""
    return {"type": "file", "media": media, "file_name": name, "size": size_bytes}


def sticker(media: str, sticker_id: int) -> Json:
    """A sticker of Viber's shop."""
    return {"type": "sticker", "media": media, "sticker_id": sticker_id}


def contact(name: str, phone_number: str, avatar: str | None) -> Json:
    """A card; nothing in it proves whose number it is."""
    card: Json = {"name": name, "phone_number": f"+{phone_number.removeprefix('+')}"}
    return {"type": "contact", "contact": card if avatar is None else {**card, "avatar": avatar}}


def location(latitude: float, longitude: float) -> Json:
    """A place."""
    return {"type": "location", "location": {"lat": latitude, "lon": longitude}}


def url(address: str) -> Json:
    """A link."""
    return {"type": "url", "media": address}
