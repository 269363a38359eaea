"""The menu of commands: what Telegram takes of it, told before anything is sent. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ingest_telegram.payloads import COMMAND_DESCRIPTION_MAX_UNITS, COMMANDS_MAX
from msgkit.connector.errors import MessageRejected
from msgkit.connector.raw import utf16_units
from msgkit.contracts.views import BotCommand
from msgkit.contracts.words import FailureCode

_NAME = re.compile(r"[a-z0-9_]{1,32}")


def checked_commands(commands: Sequence[BotCommand]) -> list[BotCommand]:
    """The same commands, their descriptions without blanks around.

    Raises:
        MessageRejected: Telegram would refuse the list; the text names the command and the rule.

    Source: core.telegram.org/bots/api#botcommand, #setmycommands.
    """
    if len(commands) > COMMANDS_MAX:
        raise _refused(f"Telegram приймає найбільше {COMMANDS_MAX} команд. Приберіть зайві.")
    seen: set[str] = set()
    checked = []
    for entry in commands:
        shown = entry.command[:40]
        if not _NAME.fullmatch(entry.command):
            raise _refused(
                f"Команда «{shown}»: дозволено від 1 до 32 малих латинських літер, цифр і підкреслень, "
                "без скісної риски."
            )
        if entry.command in seen:
            raise _refused(f"Команда «{shown}» стоїть у списку двічі. Залиште одну.")
        seen.add(entry.command)
        description = entry.description.strip()
        if not 1 <= utf16_units(description) <= COMMAND_DESCRIPTION_MAX_UNITS:
            raise _refused(
                f"Опис команди «{shown}» має містити від 1 до {COMMAND_DESCRIPTION_MAX_UNITS} символів."
            )
        checked.append(BotCommand(command=entry.command, description=description))
    return checked


def _refused(text: str) -> MessageRejected:
    return MessageRejected(FailureCode.REJECTED, text)
