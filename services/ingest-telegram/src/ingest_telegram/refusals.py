"""What a refusal of the Bot API means to us: one table, each row with its source. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.raw import json_integer, node
from msgkit.contracts.words import FailureCode

DEFAULT_RETRY_AFTER_SECONDS = 5.0
_REASON_MAX_CHARS = 200

_TBA = "telegram-bot-api Client.cpp (fact sheet 1.8)"
_TDLIB = "TDLib error texts (fact sheet 1.8)"
_DOCS = "core.telegram.org/bots/api#making-requests (fact sheet 1.8)"


def _blocked(_reason: str) -> Exception:
    return RecipientUnreachable(
        blocked=True, text="Клієнт заблокував бота. Писати можна, коли клієнт знову напише."
    )


def _deactivated(_reason: str) -> Exception:
    return RecipientUnreachable(blocked=False, text="Клієнт видалив свій акаунт Telegram.")


def _not_started(_reason: str) -> Exception:
    return RecipientUnreachable(
        blocked=False, text="Бот не може написати першим: клієнт має сам почати розмову."
    )


def _unreachable(reason: str) -> Exception:
    return RecipientUnreachable(blocked=False, text=f"Telegram не знаходить цю розмову: {reason}")


def _rejected(reason: str) -> Exception:
    return MessageRejected(FailureCode.REJECTED, f"Telegram відхилив повідомлення: {reason}")


def _too_long(_reason: str) -> Exception:
    return MessageRejected(FailureCode.TOO_LONG, "Повідомлення задовге для Telegram. Скоротіть його.")


def _too_big(_reason: str) -> Exception:
    return MessageRejected(FailureCode.FILE_TOO_BIG, "Файл завеликий для Telegram. Зменште його.")


def _too_big_to_fetch(_reason: str) -> Exception:
    return MessageRejected(
        FailureCode.FILE_TOO_BIG,
        "Telegram не віддає ботам файли понад 20 МБ. Попросіть клієнта надіслати менший файл або посилання.",
    )


def _gone(_reason: str) -> Exception:
    return MessageRejected(
        FailureCode.REJECTED, "Цього файла в Telegram уже немає. Попросіть клієнта надіслати його ще раз."
    )


def _not_ready(_reason: str) -> Exception:
    return ProviderUnavailable("the file is not to be had just now")


def _odd_picture(_reason: str) -> Exception:
    return MessageRejected(
        FailureCode.UNSUPPORTED_KIND,
        "Telegram не зміг показати цей файл. Збережіть його в іншому форматі (JPEG, PNG, MP4) і надішліть.",
    )


def _no_voice(_reason: str) -> Exception:
    return MessageRejected(
        FailureCode.UNSUPPORTED_KIND,
        "Клієнт не приймає голосові повідомлення. Напишіть текстом.",
    )


def _odd_button(reason: str) -> Exception:
    return MessageRejected(
        FailureCode.REJECTED, f"Telegram не приймає кнопку ({reason}). Виправте її в налаштуваннях."
    )


def _odd_command(reason: str) -> Exception:
    return MessageRejected(
        FailureCode.REJECTED, f"Telegram не приймає команду меню ({reason}). Виправте список команд."
    )


def token_refused(reason: str) -> Exception:
    """The token does not work (any more)."""
    return CredentialsInvalid(
        f"Telegram не приймає токен бота ({reason}). Візьміть чинний у @BotFather і замініть ключ каналу."
    )


def _webhook_in_the_way(_reason: str) -> Exception:
    return ProviderUnavailable(
        "a webhook is set, so nothing can be polled",
        problem="Для бота встановлено вебхук, тому забирати повідомлення не можна. Підключіть канал знову.",
    )


def _polled_by_another(_reason: str) -> Exception:
    return ProviderUnavailable(
        "another program polls this bot",
        problem="Повідомлення цього бота забирає ще одна програма. Вимкніть її або випустіть новий токен.",
    )


def _busy(_reason: str) -> Exception:
    return ProviderUnavailable("another request of this bot is in the way")


def _server_fault(_reason: str) -> Exception:
    return DeliveryUnknown("the server of Telegram failed")


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """One row of the table: a code, words of the description, and our error. The first match counts."""

    code: int
    words: str
    """A regular expression, searched without regard to case."""
    error: Callable[[str], Exception]
    source: str


ERROR_TABLE: tuple[ErrorRow, ...] = (
    ErrorRow(403, r"bot was blocked by the user", _blocked, _TBA),
    ErrorRow(403, r"user is deactivated", _deactivated, _TBA),
    ErrorRow(403, r"bot can't initiate conversation", _not_started, _TDLIB),
    ErrorRow(403, r"bot was kicked|is not a member|chat was deleted", _unreachable, _TBA),
    ErrorRow(403, r"", _unreachable, _TBA),
    ErrorRow(400, r"chat not found|chat_id is empty", _unreachable, _TBA),
    ErrorRow(400, r"chat was upgraded to a supergroup", _unreachable, _TBA),
    ErrorRow(400, r"message is too long", _too_long, _TDLIB),
    ErrorRow(400, r"message text is empty", _rejected, _TBA),
    ErrorRow(400, r"can't parse entities", _rejected, _TDLIB),
    ErrorRow(400, r"wrong HTTP URL|failed to get HTTP URL|wrong file_id", _rejected, _TBA),
    ErrorRow(400, r"file is too big", _too_big, _TBA),
    ErrorRow(400, r"file must be non-empty|can't use file of type", _odd_picture, _TBA),
    ErrorRow(400, r"PHOTO_|IMAGE_PROCESS_FAILED|MEDIA_(INVALID|EMPTY)|STICKER_", _odd_picture, _TDLIB),
    ErrorRow(400, r"VIDEO_|AUDIO_|GIF_|WEBDOCUMENT_", _odd_picture, _TDLIB),
    ErrorRow(400, r"VOICE_MESSAGES_FORBIDDEN", _no_voice, _TDLIB),
    ErrorRow(
        400, r"BUTTON_\w+|inline keyboard button|keyboard button|BUTTON_DATA_INVALID", _odd_button, _TDLIB
    ),
    ErrorRow(400, r"BOT_COMMAND_\w+|too many commands", _odd_command, _TDLIB),
    # A press that waited too long: nobody looks at that spinner any more.
    ErrorRow(400, r"query is too old", _rejected, _TBA),
    ErrorRow(400, r"Logged out", token_refused, _TBA),
    # A 403 whose text is a constant arrives as a 400.
    ErrorRow(400, r"USER_IS_BLOCKED", _blocked, _TBA),
    ErrorRow(400, r"USER_DEACTIVATED|INPUT_USER_DEACTIVATED", _deactivated, _TBA),
    ErrorRow(400, r"PEER_ID_INVALID|CHAT_WRITE_FORBIDDEN|USER_ID_INVALID", _unreachable, _TBA),
    ErrorRow(400, r"", _rejected, _DOCS),
    ErrorRow(401, r"", token_refused, _TBA),
    ErrorRow(404, r"method not found", _rejected, _TBA),
    ErrorRow(404, r"", token_refused, _TBA),
    ErrorRow(409, r"webhook is active|terminated by setWebhook", _webhook_in_the_way, _TBA),
    ErrorRow(409, r"terminated by other getUpdates", _polled_by_another, _TBA),
    ErrorRow(409, r"", _busy, _TBA),
    ErrorRow(413, r"", _too_big, _DOCS),
)
"""`message is not modified` belongs to methods we do not call yet. 429 and 5xx carry more than a description:
see `to_error`."""

FILE_TABLE: tuple[ErrorRow, ...] = (
    ErrorRow(400, r"file is too big", _too_big_to_fetch, _TBA),
    ErrorRow(400, r"temporarily unavailable", _not_ready, _TBA),
    ErrorRow(400, r"file_id|file identifier|FILE_REFERENCE|FILE_ID", _gone, _TBA),
    *ERROR_TABLE,
)
"""For getFile: the same words mean something else of a file that is to be fetched."""


def to_error(
    code: int, description: str, parameters: object, table: Sequence[ErrorRow] = ERROR_TABLE
) -> Exception:
    """What a refusal of the Bot API means.

    Args:
        code: the HTTP status, which equals `error_code`.
        description: Telegram's words.
        parameters: `parameters` of the answer, whatever it is.
        table: of the method that was called.

    Returns:
        One of the errors of `msgkit.connector.errors`.

    Source: core.telegram.org/bots/api#making-requests; fact sheet 1.8.
    """
    if code == 429:
        return Throttled(_retry_after_seconds(description, parameters))
    if code >= 500:
        return _server_fault(description)
    reason = description[:_REASON_MAX_CHARS]
    for row in table:
        if row.code == code and re.search(row.words, description, re.IGNORECASE):
            return row.error(reason)
    # Redirects and unheard-of codes: a refusal, but we cannot be sure of what.
    return _rejected(reason) if 400 <= code < 500 else _server_fault(reason)


def _retry_after_seconds(description: str, parameters: object) -> float:
    seconds = json_integer(node(parameters).get("retry_after"))
    if seconds is None:
        said = re.search(r"retry after (\d{1,6})", description, re.IGNORECASE)
        seconds = int(said.group(1)) if said else None
    return float(seconds) if seconds is not None and seconds > 0 else DEFAULT_RETRY_AFTER_SECONDS
