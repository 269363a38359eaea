"""What the administrator should know of a bot's connection: what is wrong, and the one fix. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from ingest_telegram.client import WebhookInfo
from ingest_telegram.payloads import ALLOWED_UPDATES
from msgkit.connector.contract import ConnectionReport

RECENT_SECONDS = 600
"""An older error is over: Telegram shows it on, but tries at least every two minutes while it lasts."""
MANY_PENDING = 100
"""So many waiting updates are a trouble whatever the age of the error."""
_ERROR_MAX_CHARS = 200


@dataclass(frozen=True, slots=True)
class TroubleRow:
    """One row of the table: words of `last_error_message`, and what to do. The first match counts."""

    words: str
    """A regular expression, searched without regard to case."""
    fix: str


TROUBLE_TABLE: tuple[TroubleRow, ...] = (
    TroubleRow(
        r"response from the webhook: 403",
        "Запити Telegram відхиляє захист перед сервером (403). Дозвольте в ньому мережі 149.154.160.0/20 "
        "і 91.108.4.0/22.",
    ),
    TroubleRow(
        r"response from the webhook: 404",
        "За адресою вебхука немає нашого сервісу (404). Перевірте, куди веде публічна адреса на проксі.",
    ),
    TroubleRow(
        r"response from the webhook: 3\d\d",
        "Адреса вебхука переадресовує, а Telegram цього не приймає. Вкажіть остаточну публічну адресу.",
    ),
    TroubleRow(
        r"response from the webhook: 413",
        "Проксі відхиляє великі запити (413). Дозвольте на ньому тіло запиту до 4 МБ.",
    ),
    TroubleRow(
        r"response from the webhook: 5\d\d",
        "Наш сервер відповідає помилкою. Перевірте, чи працюють RabbitMQ і MongoDB.",
    ),
    TroubleRow(
        r"timeout expired|timed out",
        "Наш сервер не встигає відповісти Telegram. Перевірте його навантаження.",
    ),
    TroubleRow(
        r"SSL|certificate",
        "Telegram не довіряє сертифікату сервера. Поновіть сертифікат разом із проміжним ланцюжком.",
    ),
    TroubleRow(
        r"resolve host|IP address",
        "Telegram не знаходить сервер за публічною адресою. Виправте запис DNS: потрібна зовнішня IPv4.",
    ),
    TroubleRow(
        r"connection|connect|closed|reset|unreachable",
        "Telegram не може з'єднатися із сервером. Відкрийте для нього порт публічної адреси.",
    ),
)
"""Source: texts of telegram-bot-api WebhookActor.cpp, of td's SSL and socket errors; fact sheet 1.1, 5.5."""

_NO_WEBHOOK = "Вебхук не встановлено. Підключіть канал знову."
_OTHER_WEBHOOK = "Вебхук цього бота веде до іншої системи. Вимкніть її або підключіть канал знову."
_FEWER_UPDATES = "Telegram надсилає не всі події цього бота. Підключіть канал знову."
_UNWANTED_WEBHOOK = (
    "Для бота встановлено вебхук, а ця система забирає повідомлення сама. Підключіть канал знову."
)


def to_report(info: WebhookInfo, webhook_url: str, now: datetime) -> ConnectionReport:
    """How a bot is connected.

    Args:
        info: getWebhookInfo.
        webhook_url: our address; empty if the bot is polled.
        now: aware; tells a trouble of now from one that is over.

    Source: core.telegram.org/bots/api#webhookinfo; fact sheet 1.1.
    """
    misses = info.allowed_updates is not None and not set(ALLOWED_UPDATES) <= set(info.allowed_updates)
    problem: str | None
    if info.url != webhook_url:
        connected = False
        problem = _UNWANTED_WEBHOOK if not webhook_url else _OTHER_WEBHOOK if info.url else _NO_WEBHOOK
    elif webhook_url and misses:
        connected, problem = False, _FEWER_UPDATES
    else:
        connected, problem = True, _trouble(info, now) if webhook_url else None
    return ConnectionReport(connected=connected, problem=problem, pending_updates=info.pending_updates)


def _trouble(info: WebhookInfo, now: datetime) -> str | None:
    pending = info.pending_updates or 0
    if info.last_error is None or pending <= 0:
        return None
    is_recent = info.last_error_at is not None and now.timestamp() - info.last_error_at <= RECENT_SECONDS
    if not is_recent and pending < MANY_PENDING:
        return None
    for row in TROUBLE_TABLE:
        if re.search(row.words, info.last_error, re.IGNORECASE):
            return f"{row.fix} Чекають повідомлень: {pending}."
    return f"Telegram не може передати нам повідомлення: {info.last_error[:_ERROR_MAX_CHARS]}"
