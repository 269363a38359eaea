"""What a WhatsApp phone shows, as JSON, in the words of the other phones wherever they mean the same."""

from datetime import UTC, datetime

from sandbox.files import StoredFile
from sandbox.whatsapp.state import WINDOW_SECONDS, Button, Chat, Json, Number, PhoneMessage

NEWEST = 200
"""The phone page shows so many of the newest bubbles."""


def phone(number: Number, chat: Chat, now: float) -> Json:
    """The whole phone. `failures`: what the API took and that did not arrive, with Meta's code."""
    failures = [
        {"provider_id": failure.id, "code": failure.code, "reason": failure.reason, "at": _time(failure.at)}
        for failure in chat.failures
    ]
    identity = chat.identity
    is_open = chat.wrote_at is not None and now - chat.wrote_at < WINDOW_SECONDS
    return {
        "messenger": "whatsapp",
        "client": chat.user.client,
        "name": chat.user.full_name,
        "phone_number": identity.wa_id,
        "chat_id": identity.wa_id,
        "user_id": identity.user_id,
        "identity": identity.variant,
        "username": identity.username,
        "bot": {"name": number.account.name, "username": number.account.display_phone_number},
        "started": True,
        "blocked": chat.blocked,
        "offline": chat.offline,
        "window_open": is_open,
        "coexistence": number.account.coexistence,
        "typing": chat.typing_until > now,
        "action": None,
        "notice": _notice(failures),
        "keyboard": None,
        "commands": [],
        "presses": [],
        "unread": len(chat.unread),
        "failures": failures,
        "messages": [bubble(message) for message in list(chat.messages)[-NEWEST:] if message.shown],
    }


def bubble(message: PhoneMessage) -> Json:
    """One bubble. `in` was written by the client, `out` by the business.

    `state` of the client's own message: sent, delivered once the server of the business answered 200, read
    once it marked it; of the business's: sent, delivered, read, played.
    """
    result: Json = {
        "provider_id": message.id,
        "direction": "in" if message.from_client else "out",
        "text": message.text,
        "kind": message.kind,
        "type": message.type,
        "at": _time(message.at),
        "edited": message.edited,
        "state": message.state,
    }
    if message.reply_to is not None:
        result["reply_to"] = message.reply_to
    if message.is_echo:
        result["echo"] = True
    if message.reactions:
        result["reactions"] = dict(message.reactions)
    if message.words:
        result["words"] = dict(message.words)
    if message.type == "interactive" and message.content.get("type") == "list":
        action = message.content["action"]
        result["list_button"] = action["button"] if isinstance(action, dict) else None
    if message.buttons:
        result["keyboard"] = {"inline_keyboard": [[_button(one)] for one in message.buttons]}
    if message.file is not None:
        result["file"] = _file(message.file, message.content.get("filename"))
        if message.text:
            result["caption"] = message.text
    if message.type == "location":
        place = message.content
        result["location"] = {
            "latitude": float(str(place["latitude"])),
            "longitude": float(str(place["longitude"])),
        }
    if message.type == "contacts":
        result["contact"] = _card(message.content)
    return result


def _button(button: Button) -> Json:
    told: Json = {"text": button.title, "data": button.id, "kind": button.kind}
    if button.url is not None:
        told["url"] = button.url
    if button.description is not None:
        told["description"] = button.description
    return told


def _card(content: Json) -> Json:
    cards = content.get("contacts")
    first = cards[0] if isinstance(cards, list) and cards else {}
    phones = first.get("phones")
    number = phones[0].get("phone", "") if isinstance(phones, list) and phones else ""
    return {"first_name": first.get("name", {}).get("formatted_name", ""), "phone_number": number}


def _notice(failures: list[Json]) -> str | None:
    if not failures:
        return None
    reason = str(failures[-1]["reason"]).rstrip(".")
    return f"Повідомлення компанії не дійшло: {failures[-1]['code']}, {reason}."


def _file(file: StoredFile, name: object = None) -> Json:
    """`name`: what the message calls it; WhatsApp shows that, whatever the file was called when it came."""
    looks = file.looks
    told: Json = {
        "name": name or looks.name,
        "width": looks.width or None,
        "height": looks.height or None,
        "duration": looks.duration or None,
        "thumb_url": None if file.thumbnail is None else _url(file.thumbnail),
    }
    known = {key: value for key, value in told.items() if value is not None}
    return {"mime": looks.mime, "size": file.size, "url": _url(file), **known}


def _url(file: StoredFile) -> str:
    return f"/control/files/{file.unique_id}"


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
