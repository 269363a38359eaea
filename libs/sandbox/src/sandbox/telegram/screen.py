"""What a phone shows, as JSON: bubbles, keyboards, files with addresses to load them from."""

from datetime import UTC, datetime

from sandbox.files import StoredFile
from sandbox.telegram.commands import shown_commands
from sandbox.telegram.payloads import Json
from sandbox.telegram.state import Bot, Chat, PhoneMessage, Press

NEWEST = 200
"""The phone page shows so many of the newest bubbles."""


def phone(bot: Bot, chat: Chat, now: float) -> Json:
    """The whole phone."""
    person = chat.user
    typing = chat.typing_until > now
    return {
        "messenger": "telegram_bot",
        "client": person.client,
        "name": person.full_name,
        "phone_number": person.phone_number,
        "chat_id": person.id,
        "bot": {"name": bot.account.name, "username": bot.account.username},
        "started": chat.started,
        "blocked": chat.blocked,
        "typing": typing,
        "action": chat.action if typing else None,
        "notice": chat.notice,
        "keyboard": chat.keyboard,
        "commands": shown_commands(bot, person),
        "presses": presses(chat),
        "messages": [bubble(message) for message in list(chat.messages)[-NEWEST:]],
    }


def bubble(message: PhoneMessage) -> Json:
    """One bubble. `in` was written by the client, `out` by the bot: as the business sees it."""
    result: Json = {
        "provider_id": str(message.message_id),
        "direction": "in" if message.from_client else "out",
        "text": message.text,
        "kind": message.kind,
        "at": _time(message.at),
        "edited": message.edited_at is not None,
    }
    if message.keyboard is not None:
        result["keyboard"] = message.keyboard
    if message.reply_to is not None:
        result["reply_to"] = str(message.reply_to)
    if message.group is not None:
        result["group"] = message.group
    if message.file is not None:
        result["file"] = _file(message.file)
        if message.text:
            result["caption"] = message.text
    for key in ("location", "contact"):
        if key in message.content:
            result[key] = message.content[key]
    return result


def presses(chat: Chat) -> list[Json]:
    """The presses on inline buttons, oldest first, with the bot's answers."""
    return [_press(press) for press in chat.presses]


def _press(press: Press) -> Json:
    result: Json = {
        "callback_query_id": press.query_id,
        "provider_id": str(press.message_id),
        "text": press.text,
        "data": press.data,
        "at": _time(press.at),
        "answered": press.answered_at is not None,
        "alert": press.show_alert,
    }
    if press.answered_at is not None:
        result["answered_at"] = _time(press.answered_at)
    if press.notice is not None:
        result["notice"] = press.notice
    return result


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
