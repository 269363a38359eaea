"""How a bot is connected, in words for the administrator with one fix each. Pure."""

from __future__ import annotations

from ingest_viber.client import AccountInfo
from ingest_viber.payloads import EVENT_TYPES
from msgkit.connector.contract import ConnectionReport

_NO_WEBHOOK = "Вебхук не встановлено. Підключіть канал знову."
_OTHER_WEBHOOK = "Вебхук цього бота веде до іншої системи. Вимкніть її або підключіть канал знову."
_FEWER_EVENTS = "Viber надсилає не всі події цього бота. Підключіть канал знову."


def to_report(info: AccountInfo, webhook_url: str) -> ConnectionReport:
    """How a bot is connected.

    Args:
        info: get_account_info.
        webhook_url: our address.

    Source: fact sheet 3.2. Viber tells neither of waiting callbacks nor of failed ones.
    """
    problem: str | None = None
    if info.webhook is not None and info.webhook != webhook_url:
        problem = _OTHER_WEBHOOK if info.webhook else _NO_WEBHOOK
    elif info.event_types is not None and not set(EVENT_TYPES) <= set(info.event_types):
        problem = _FEWER_EVENTS
    return ConnectionReport(connected=problem is None, problem=problem, pending_updates=None)
