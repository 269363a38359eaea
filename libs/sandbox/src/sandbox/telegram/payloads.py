"""Telegram's JSON: pure functions from what is on a phone to the objects a bot receives.

Source: the fact sheet of the Bot API (checked against the open Bot API server), one sample per object in
tests/fixtures/telegram; tests/contract compares the keys.
"""

import json
import re
from collections.abc import Iterator

from sandbox.people import User
from sandbox.telegram.state import BotAccount

Json = dict[str, object]

_ENTITY = re.compile(
    r"(?P<url>https?://[^\s<>\"']+)|(?P<mention>(?<!\w)@\w{4,32})|(?P<bot_command>(?<![\w/])/\w{1,32})"
)


def utf16_units(text: str) -> int:
    """Length in UTF-16 code units, the unit of Telegram's limits and offsets."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def user(person: User) -> Json:
    """`User` of a client."""
    result: Json = {"id": person.id, "is_bot": False, "first_name": person.first_name}
    if person.last_name is not None:
        result["last_name"] = person.last_name
    if person.username is not None:
        result["username"] = person.username
    result["language_code"] = person.language_code
    return result


def bot_user(bot: BotAccount) -> Json:
    """`User` of a bot."""
    return {"id": bot.id, "is_bot": True, "first_name": bot.name, "username": bot.username}


def bot_itself(bot: BotAccount) -> Json:
    """The answer of `getMe`: `User` with what only the bot itself is told."""
    return {
        **bot_user(bot),
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
        "can_connect_to_business": False,
        "has_main_web_app": False,
        "has_topics_enabled": False,
    }


def private_chat(person: User) -> Json:
    """`Chat` of a private dialogue; its id is the client's user id."""
    result: Json = {"id": person.id, "first_name": person.first_name}
    if person.last_name is not None:
        result["last_name"] = person.last_name
    if person.username is not None:
        result["username"] = person.username
    result["type"] = "private"
    return result


def full_chat(person: User) -> Json:
    """The answer of `getChat`: `ChatFullInfo` of a private dialogue."""
    return {
        **private_chat(person),
        "accepted_gift_types": {
            "unlimited_gifts": True,
            "limited_gifts": True,
            "unique_gifts": True,
            "premium_subscription": True,
            "gifts_from_channels": True,
        },
        "active_usernames": [] if person.username is None else [person.username],
        "accent_color_id": person.id % 7,
        "max_reaction_count": 11,
    }


def message(
    *,
    message_id: int,
    sender: Json,
    chat: Json,
    date: float,
    edit_date: float | None = None,
    reply_to: Json | None = None,
    content: Json,
    keyboard: Json | None = None,
) -> Json:
    """`Message`: the frame around `content`.

    Args:
        date: Unix seconds; Telegram has no fractions.
        keyboard: `reply_markup`; Telegram shows bots only inline ones.
    """
    result: Json = {"message_id": message_id, "from": sender, "chat": chat, "date": int(date)}
    if edit_date is not None:
        result["edit_date"] = int(edit_date)
    if reply_to is not None:
        result["reply_to_message"] = reply_to
    result.update(content)
    if keyboard is not None and "inline_keyboard" in keyboard:
        result["reply_markup"] = keyboard
    return result


def update(update_id: int, kind: str, payload: Json) -> bytes:
    """Body of one webhook: compact, and ASCII only, as the Bot API server writes it."""
    return json.dumps({"update_id": update_id, kind: payload}, separators=(",", ":")).encode()


def blocked(bot: BotAccount, person: User, date: float) -> Json:
    """`my_chat_member` when the client blocks the bot."""
    return _my_chat_member(bot, person, date, _member(bot), _kicked(bot))


def unblocked(bot: BotAccount, person: User, date: float) -> Json:
    """`my_chat_member` when the client unblocks the bot."""
    return _my_chat_member(bot, person, date, _kicked(bot), _member(bot))


def callback_query(query_id: str, person: User, pressed: Json, data: str) -> Json:
    """`callback_query`: a press on an inline button of `pressed`."""
    return {
        "id": query_id,
        "from": user(person),
        "message": pressed,
        "chat_instance": str(-4_000_000_000_000_000_000 - person.id),
        "data": data,
    }


def text(value: str) -> Json:
    """Content of a text message with the entities Telegram finds by itself."""
    found = list(_entities(value))
    return {"text": value, "entities": found} if found else {"text": value}


def caption(value: str | None) -> Json:
    """The caption part of a media message."""
    if not value:
        return {}
    found = list(_entities(value))
    return {"caption": value, "caption_entities": found} if found else {"caption": value}


def location(latitude: float, longitude: float) -> Json:
    """Content of a place."""
    return {"location": {"latitude": latitude, "longitude": longitude}}


def contact(phone_number: str, first_name: str, user_id: int | None, last_name: str | None = None) -> Json:
    """Content of a contact card; only the sender's own card carries the sender's `user_id`."""
    card: Json = {"phone_number": phone_number, "first_name": first_name}
    if last_name is not None:
        card["last_name"] = last_name
    if user_id is not None:
        card["user_id"] = user_id
    return {"contact": card}


def _my_chat_member(bot: BotAccount, person: User, date: float, old: Json, new: Json) -> Json:
    return {
        "chat": private_chat(person),
        "from": user(person),
        "date": int(date),
        "old_chat_member": old,
        "new_chat_member": new,
    }


def _member(bot: BotAccount) -> Json:
    return {"user": bot_user(bot), "status": "member"}


def _kicked(bot: BotAccount) -> Json:
    return {"user": bot_user(bot), "status": "kicked", "until_date": 0}


def _entities(value: str) -> Iterator[Json]:
    if not any(sign in value for sign in "/@:"):
        return
    for found in _ENTITY.finditer(value):
        kind = found.lastgroup
        yield {
            "offset": utf16_units(value[: found.start()]),
            "length": utf16_units(found.group()),
            "type": kind,
        }
