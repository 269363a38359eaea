"""What a Viber phone shows, as JSON, in the words of the other phones wherever they mean the same."""

from datetime import UTC, datetime

from sandbox.files import StoredFile
from sandbox.viber.clients import label
from sandbox.viber.state import Bot, Chat, Json, PhoneMessage

NEWEST = 200
"""The phone page shows so many of the newest bubbles."""


def phone(bot: Bot, chat: Chat) -> Json:
    """The whole phone. `failures`: what the API took and the phone could not show."""
    person = chat.user
    failures = [
        {"provider_id": str(failure.token), "reason": failure.reason, "at": _time(failure.at)}
        for failure in chat.failures
    ]
    return {
        "messenger": "viber_bot",
        "client": person.client,
        "name": person.full_name,
        "phone_number": person.phone_number,
        "chat_id": chat.user_id,
        "bot": {"name": bot.account.name, "username": bot.account.uri},
        "started": chat.opened,
        "subscribed": chat.subscribed,
        "blocked": chat.unsubscribed,
        "typing": False,
        "action": None,
        "notice": f"Телефон не показав повідомлення: {failures[-1]['reason']}." if failures else None,
        "keyboard": None if chat.keyboard is None or chat.unsubscribed else _keyboard(chat.keyboard),
        "commands": [],
        "presses": [],
        "unread": len(chat.unread),
        "failures": failures,
        "messages": [bubble(message) for message in list(chat.messages)[-NEWEST:] if message.shown],
    }


def bubble(message: PhoneMessage) -> Json:
    """One bubble. `in` was written by the client, `out` by the bot: as the business sees it.

    `state` of the client's own message: sent, or delivered once the bot's server answered 200; of the bot's:
    delivered, or seen once the client has read it.
    """
    result: Json = {
        "provider_id": str(message.token),
        "direction": "in" if message.from_client else "out",
        "text": message.text,
        "kind": message.kind,
        "at": _time(message.at),
        "edited": False,
        "state": message.state,
    }
    if message.is_welcome:
        result["welcome"] = True
    if message.keyboard is not None:
        result["keyboard"] = _keyboard(message.keyboard)
    if message.file is not None:
        result["file"] = _file(message.file)
        if message.text:
            result["caption"] = message.text
    place, card = message.content.get("location"), message.content.get("contact")
    if isinstance(place, dict):
        result["location"] = {"latitude": float(place["lat"]), "longitude": float(place["lon"])}
    if isinstance(card, dict):
        result["contact"] = {"first_name": card.get("name", ""), "phone_number": card.get("phone_number", "")}
    if message.kind == "url":
        result["url"] = message.content.get("media", "")
    sender = message.content.get("sender")
    if isinstance(sender, dict):
        result["sender"] = sender.get("name")
    rich = message.content.get("rich_media")
    if isinstance(rich, dict):
        result["rich_media"] = _keyboard(rich)
    return result


def _keyboard(keyboard: Json) -> Json:
    """The buttons with the label a phone draws beside Viber's own keys."""
    buttons = keyboard.get("Buttons")
    drawn = [{**button, "label": label(button)} for button in buttons] if isinstance(buttons, list) else []
    return {**keyboard, "Buttons": drawn}


def _file(file: StoredFile) -> Json:
    looks = file.looks
    told: Json = {
        "name": looks.name,
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
