"""What the administrator is told of a bot: each trouble with its one fix; which commands Telegram takes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ingest_telegram.client import WebhookInfo
from ingest_telegram.commands import checked_commands
from ingest_telegram.payloads import ALLOWED_UPDATES
from ingest_telegram.webhook_report import MANY_PENDING, RECENT_SECONDS, to_report
from msgkit.connector.errors import MessageRejected
from msgkit.contracts.views import BotCommand

NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
URL = "https://chat.example.com/webhooks/telegram_bot/c"
JUST_NOW = int((NOW - timedelta(seconds=30)).timestamp())
LONG_AGO = int((NOW - timedelta(seconds=RECENT_SECONDS + 1)).timestamp())
FINE = WebhookInfo(
    url=URL,
    pending_updates=0,
    last_error=None,
    last_error_at=None,
    allowed_updates=ALLOWED_UPDATES,
)
FAILING = replace(FINE, pending_updates=3, last_error_at=JUST_NOW)


@pytest.mark.parametrize(
    ("info", "connected", "words"),
    [
        (FINE, True, None),
        (replace(FINE, allowed_updates=None), True, None),
        (replace(FINE, pending_updates=None), True, None),
        (replace(FINE, url=""), False, "не встановлено"),
        (replace(FINE, url="https://them"), False, "до іншої системи"),
        (replace(FINE, allowed_updates=("message",)), False, "не всі події"),
        (
            replace(FAILING, last_error="Wrong response from the webhook: 403 Forbidden"),
            True,
            "149.154.160.0/20",
        ),
        (replace(FAILING, last_error="Wrong response from the webhook: 404 Not Found"), True, "404"),
        (
            replace(FAILING, last_error="Wrong response from the webhook: 301 Moved Permanently"),
            True,
            "переадресовує",
        ),
        (replace(FAILING, last_error="Wrong response from the webhook: 413 Too Large"), True, "4 МБ"),
        (
            replace(FAILING, last_error="Wrong response from the webhook: 503 Service Unavailable"),
            True,
            "RabbitMQ",
        ),
        (replace(FAILING, last_error="Read timeout expired"), True, "не встигає"),
        (replace(FAILING, last_error="Connection timed out"), True, "не встигає"),
        (replace(FAILING, last_error="Connection refused"), True, "порт"),
        (replace(FAILING, last_error="Connection reset by peer"), True, "порт"),
        (
            replace(FAILING, last_error="SSL error {error:0A000086:certificate verify failed}"),
            True,
            "сертифікат",
        ),
        (
            replace(FAILING, last_error="Failed to resolve host: Name or service not known"),
            True,
            "DNS",
        ),
        (replace(FAILING, last_error="Something unheard of"), True, "Something unheard of"),
        (replace(FAILING, last_error="Connection refused", pending_updates=0), True, None),
        (replace(FAILING, last_error="Connection refused", last_error_at=LONG_AGO), True, None),
        (
            replace(
                FAILING,
                last_error="Connection refused",
                last_error_at=LONG_AGO,
                pending_updates=MANY_PENDING,
            ),
            True,
            "порт",
        ),
    ],
)
def test_webhook_trouble_has_its_fix(info: WebhookInfo, connected: bool, words: str | None) -> None:
    report = to_report(info, URL, NOW)
    assert report.connected is connected
    if words is None:
        assert report.problem is None
    else:
        assert words in (report.problem or "")


def test_polled_bot_must_have_no_webhook() -> None:
    assert to_report(replace(FINE, url=""), "", NOW).problem is None
    report = to_report(FINE, "", NOW)
    assert not report.connected
    assert "забирає повідомлення сама" in (report.problem or "")


def command(name: str = "price", description: str = "Ціни") -> BotCommand:
    return BotCommand(command=name, description=description)


def test_good_commands_stay_as_they_are() -> None:
    good = [command(), command("a" * 32, "о" * 256), command("start_1", " Почати ")]
    assert [(entry.command, entry.description) for entry in checked_commands(good)] == [
        ("price", "Ціни"),
        ("a" * 32, "о" * 256),
        ("start_1", "Почати"),
    ]
    assert checked_commands([]) == []


@pytest.mark.parametrize(
    "commands",
    [
        [command("")],
        [command("/price")],
        [command("Price")],
        [command("ціни")],
        [command("a" * 33)],
        [command("a-b")],
        [command("price\n")],
        [command(description="")],
        [command(description="  ")],
        [command(description="о" * 257)],
        [command(description="👋" * 129)],
        [command(), command()],
        [command(f"c{n}") for n in range(101)],
    ],
)
def test_command_telegram_would_refuse_is_refused_with_its_rule(commands: list[BotCommand]) -> None:
    with pytest.raises(MessageRejected) as caught:
        checked_commands(commands)
    assert len(caught.value.text) > 20
