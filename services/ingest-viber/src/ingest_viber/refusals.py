"""What a status of Viber means to us: one table, each row with its source. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from msgkit.connector.errors import (
    CredentialsInvalid,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
)
from msgkit.contracts.words import FailureCode

TOO_MANY_REQUESTS = 12
WEBHOOK_NOT_SET = 10

_REASON_MAX_CHARS = 200
_SHEET = "developers.viber.com/docs/api/rest-bot-api, error codes (fact sheet 3.7)"
_SEEN = "a public report of a real answer (fact sheet 3.7)"
_HTTP_STATUS = re.compile(r"HTTP/1\.1 (\d{3})")


@dataclass(frozen=True, slots=True)
class StatusRow:
    """One row of the table."""

    status: int
    words: str
    """Viber's own name of it, for an answer whose number we do not know."""
    error: Callable[[str], Exception]
    source: str = _SHEET


def token_refused(reason: str) -> Exception:
    """The token does not work (any more)."""
    return CredentialsInvalid(
        f"Viber не приймає токен бота ({reason}). "
        "Візьміть чинний у налаштуваннях бота й замініть ключ каналу."
    )


def _bad_webhook(reason: str) -> Exception:
    answered = _HTTP_STATUS.search(reason)
    told = f" (наша адреса відповіла {answered.group(1)})" if answered else ""
    return MessageRejected(
        FailureCode.REJECTED,
        f"Viber не зміг перевірити адресу вебхука{told}. Потрібна публічна https-адреса з чинним "
        "сертифікатом: перевірте проксі й підключіть канал знову.",
    )


def _rejected(reason: str) -> Exception:
    return MessageRejected(FailureCode.REJECTED, f"Viber відхилив повідомлення: {reason}")


def _bot_stopped(what: str) -> Callable[[str], Exception]:
    return lambda _: CredentialsInvalid(
        f"{what} Зверніться до підтримки Viber; щойно бот запрацює, відповіді підуть самі."
    )


def _unreachable(what: str, *, blocked: bool = False) -> Callable[[str], Exception]:
    return lambda _: RecipientUnreachable(blocked=blocked, text=what)


def _unsupported(what: str) -> Callable[[str], Exception]:
    return lambda _: MessageRejected(FailureCode.UNSUPPORTED_KIND, what)


def _unpaid(what: str) -> Callable[[str], Exception]:
    # One answer, not the channel: within 24 hours after the client's message answers are free and go on.
    return lambda _: MessageRejected(
        FailureCode.REJECTED,
        f"{what} Безкоштовні відповіді протягом доби після повідомлення клієнта. "
        "Поповніть рахунок бота й надішліть ще раз, або дочекайтеся, доки клієнт напише.",
    )


def _webhook_lost(_reason: str) -> Exception:
    # Tried again with a growing pause; the watch of the accounts sees the same and registers anew.
    return ProviderUnavailable(
        "the bot has no webhook",
        problem="Вебхук бота знято. Підключіть канал знову.",
    )


def _general(reason: str) -> Exception:
    return ProviderUnavailable(f"a general error of Viber: {reason}")


_OLD_PHONE = "У клієнта застара версія Viber для цього повідомлення. Надішліть його без таких кнопок."

STATUS_TABLE: tuple[StatusRow, ...] = (
    StatusRow(1, "invalidUrl", _bad_webhook),
    StatusRow(2, "invalidAuthToken", token_refused),
    StatusRow(3, "badData", _rejected),
    StatusRow(4, "missingData", _rejected),
    StatusRow(
        5,
        "receiverNotRegistered",
        _unreachable("Цього клієнта у Viber уже немає. Напишіть йому іншим каналом."),
    ),
    StatusRow(
        6,
        "receiverNotSubscribed",
        _unreachable(
            "Клієнт відписався від бота. Писати можна, коли клієнт знову напише.",
            blocked=True,
        ),
    ),
    StatusRow(7, "publicAccountBlocked", _bot_stopped("Viber заблокував цього бота.")),
    StatusRow(8, "publicAccountNotFound", _bot_stopped("Viber не знаходить цього бота.")),
    StatusRow(9, "publicAccountSuspended", _bot_stopped("Viber призупинив цього бота.")),
    StatusRow(WEBHOOK_NOT_SET, "webhookNotSet", _webhook_lost),
    StatusRow(
        11,
        "receiverNoSuitableDevice",
        _unreachable("На пристроях клієнта Viber не показує повідомлень ботів. Напишіть іншим каналом."),
    ),
    # 12 tooManyRequests carries a pause: see the client.
    StatusRow(13, "apiVersionNotSupported", _unsupported(_OLD_PHONE)),
    StatusRow(14, "incompatibleWithVersion", _unsupported(_OLD_PHONE)),
    StatusRow(15, "publicAccountNotAuthorized", _bot_stopped("Viber не дозволяє цьому боту писати.")),
    StatusRow(
        16,
        "inchatReplyMessageNotAllowed",
        _unsupported("Viber не дозволяє боту таку відповідь у цьому чаті."),
    ),
    StatusRow(17, "publicAccountIsNotInline", _unsupported("Цей бот Viber не працює всередині інших чатів.")),
    StatusRow(18, "noPublicChat", _unsupported("У цього бота Viber немає публічного чату.")),
    StatusRow(19, "cannotSendBroadcast", _unsupported("Цей бот Viber не може робити розсилок.")),
    StatusRow(20, "broadcastNotAllowed", _unsupported("Viber не дозволив цю розсилку.")),
    StatusRow(
        21,
        "unsupportedCountry",
        _unreachable("У країні клієнта Viber не доставляє повідомлень ботів. Напишіть іншим каналом."),
    ),
    StatusRow(22, "paymentUnsupported", _unsupported("Viber не підтримує оплати в цьому повідомленні.")),
    StatusRow(23, "freeMessagesExceeded", _unpaid("Безкоштовні повідомлення бота цього місяця скінчилися.")),
    StatusRow(24, "noBalance", _unpaid("На рахунку бота Viber немає коштів.")),
    StatusRow(
        999,
        "Bad receiver ID",
        _unreachable("Viber не знаходить цього клієнта. Напишіть йому іншим каналом."),
        _SEEN,
    ),
)

_BY_STATUS = {row.status: row for row in STATUS_TABLE}
_BY_WORDS = {row.words.lower(): row for row in STATUS_TABLE} | {"notsubscribed": _BY_STATUS[6]}
"""The last is an old alias. Source: fact sheet 3.7."""


def to_error(status: int, message: str) -> Exception:
    """What a refusal of Viber means.

    Args:
        status: `status` of the answer; not 0, and not 12.
        message: `status_message`, maybe empty.

    Returns:
        One of the errors of `msgkit.connector.errors`.

    Source: fact sheet 3.7.
    """
    reason = " ".join(message.split())[:_REASON_MAX_CHARS] or f"код {status}"
    row = _BY_STATUS.get(status) or _BY_WORDS.get(reason.lower())
    return _general(f"{status} {reason}") if row is None else row.error(reason)
