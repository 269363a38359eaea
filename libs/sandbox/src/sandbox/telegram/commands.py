"""The lists of commands a bot offers, by scope and language, and the one a phone shows."""

import json
import re

from sandbox.people import User
from sandbox.telegram.params import ApiError, Method, Outcome, Params
from sandbox.telegram.payloads import Json, utf16_units
from sandbox.telegram.state import Bot, Telegram

MAX_COMMANDS = 100
"""Source: Bot API, setMyCommands."""
MAX_DESCRIPTION_UNITS = 256
"""UTF-16 code units. Source: Bot API, BotCommand."""

_COMMAND = re.compile(r"[a-z0-9_]{1,32}")
_LANGUAGE = re.compile(r"[a-z]{2}")
_SCOPES = {
    "default": (),
    "all_private_chats": (),
    "all_group_chats": (),
    "all_chat_administrators": (),
    "chat": ("chat_id",),
    "chat_administrators": ("chat_id",),
    "chat_member": ("chat_id", "user_id"),
}


class Commands:
    """`setMyCommands`, `getMyCommands`, `deleteMyCommands`."""

    def __init__(self, telegram: Telegram) -> None:
        self._telegram = telegram

    def methods(self) -> dict[str, Method]:
        """By the name of the method, in small letters."""
        return {
            "setmycommands": self.set_my_commands,
            "getmycommands": self.get_my_commands,
            "deletemycommands": self.delete_my_commands,
        }

    def set_my_commands(self, bot: Bot, params: Params) -> Outcome:
        """Put a list in the place of the one before; an empty list is none."""
        key = _key(params)
        given = params.nested("commands", "BotCommand")
        if not isinstance(given, list):
            raise ApiError(400, "Bad Request: expected an Array of BotCommand")
        if len(given) > MAX_COMMANDS:
            raise ApiError(400, "Bad Request: too many commands specified")
        commands = tuple(_command(item) for item in given)
        if commands:
            bot.commands[key] = commands
        else:
            bot.commands.pop(key, None)
        return self._changed(bot)

    def get_my_commands(self, bot: Bot, params: Params) -> Outcome:
        """The list of exactly this scope and language."""
        return Outcome(list(bot.commands.get(_key(params), ())))

    def delete_my_commands(self, bot: Bot, params: Params) -> Outcome:
        """Forget the list of this scope and language."""
        bot.commands.pop(_key(params), None)
        return self._changed(bot)

    def _changed(self, bot: Bot) -> Outcome:
        self._telegram.changed()
        for chat in bot.chats.values():
            chat.changed()
        return Outcome(True)


def shown_commands(bot: Bot, person: User) -> list[dict[str, str]]:
    """The list the person's phone offers: the narrowest scope first, his language before none.

    Source: Bot API, «Determining list of commands».
    """
    scopes = (f"chat:{person.id}", "all_private_chats", "default")
    for key in (f"{scope}|{language}" for scope in scopes for language in (person.language_code, "")):
        if key in bot.commands:
            return list(bot.commands[key])
    return []


def _command(item: object) -> dict[str, str]:
    if not isinstance(item, dict):
        raise ApiError(400, "Bad Request: expected an Object as BotCommand")
    name = str(item.get("command", "")).removeprefix("/")
    description = str(item.get("description", "")).strip()
    if not _COMMAND.fullmatch(name):
        raise ApiError(400, "Bad Request: BOT_COMMAND_INVALID")
    if not 1 <= utf16_units(description) <= MAX_DESCRIPTION_UNITS:
        raise ApiError(400, "Bad Request: BOT_COMMAND_DESCRIPTION_INVALID")
    return {"command": name, "description": description}


def _key(params: Params) -> str:
    language = params.text("language_code")
    if language and not _LANGUAGE.fullmatch(language):
        raise ApiError(400, "Bad Request: invalid language code specified")
    scope = params.nested("scope", "BotCommandScope")
    if scope is None:
        return f"default|{language}"
    if not isinstance(scope, dict) or scope.get("type") not in _SCOPES:
        raise ApiError(400, "Bad Request: can't parse BotCommandScope: unsupported type specified")
    return f"{_scope_name(scope)}|{language}"


def _scope_name(scope: Json) -> str:
    kind = str(scope["type"])
    return ":".join([kind, *(json.dumps(scope.get(name)).strip('"') for name in _SCOPES[kind])])
