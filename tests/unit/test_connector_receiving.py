"""Which way updates come in, what a failed poll tells the administrator, words said beside the 200."""

from __future__ import annotations

import asyncio

import pytest

from ingest_telegram.connector import TelegramBotConnector
from msgkit.connector import acknowledgements as acknowledgements_module
from msgkit.connector.acceptance import NotAccepted
from msgkit.connector.acknowledgements import Acknowledgements
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
)
from msgkit.connector.polling import DISPUTED_AFTER, DOWN_AFTER, problem_of
from msgkit.connector.receiving import Choice, Receiving, Way
from msgkit.contracts.words import FailureCode
from msgkit.runtime import metrics

SANDBOX = "http://127.0.0.1:8090"


@pytest.mark.parametrize(
    ("choice", "public_url", "api_base", "way"),
    [
        ("auto", "https://chat.example.com", None, "webhook"),
        ("auto", "HTTPS://chat.example.com", None, "webhook"),
        ("auto", "http://chat.example.com", None, "polling"),
        ("auto", "http://127.0.0.1:8081", SANDBOX, "webhook"),
        ("webhook", "http://127.0.0.1:8081", None, "webhook"),
        ("polling", "https://chat.example.com", None, "polling"),
        ("polling", "https://chat.example.com", SANDBOX, "polling"),
    ],
)
def test_way_of_an_account(choice: Choice, public_url: str, api_base: str | None, way: Way) -> None:
    connector = TelegramBotConnector(client=None)  # type: ignore[arg-type]  # nothing is called
    receiving = Receiving(connector=connector, polls=None, public_url=public_url, choice=choice)  # type: ignore[arg-type]
    assert receiving.way(api_base) == way


@pytest.mark.parametrize(
    ("fault", "failures", "words"),
    [
        (ProviderUnavailable("x", problem="Вимкніть її."), DISPUTED_AFTER - 1, None),
        (ProviderUnavailable("x", problem="Вимкніть її."), DISPUTED_AFTER, "Вимкніть її."),
        (ProviderUnavailable("x"), DOWN_AFTER - 1, None),
        (ProviderUnavailable("x"), DOWN_AFTER, "не відповідає"),
        (DeliveryUnknown("x"), DOWN_AFTER, "не відповідає"),
        (CredentialsInvalid("Візьміть чинний токен."), 1, "Візьміть чинний токен."),
        (MessageRejected(FailureCode.REJECTED, "Не так."), 1, "Не так."),
        (NotAccepted("bus_unavailable"), 100, None),
        (RuntimeError("ours"), 1, "Внутрішня помилка"),
    ],
)
def test_what_a_failed_poll_tells(fault: Exception, failures: int, words: str | None) -> None:
    problem = problem_of(fault, failures)
    if words is None:
        assert problem is None
    else:
        assert words in (problem or "")


class Spinner:
    """A messenger that takes its acknowledgements one way or another."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.hold = asyncio.Event()

    async def acknowledge(self, token: str, account: Account) -> None:
        if token == "hangs":
            await self.hold.wait()
        if token == "refused":
            raise MessageRejected(FailureCode.REJECTED, "query is too old")
        self.said.append(token)


ACCOUNT = Account(
    channel_id="c", tenant_id="salon", kind="spinner", account_id="1", account_name=None, api_base=None,
    state="active", problem=None, paused_until=None, credentials={}, webhook_secret="s",
)  # fmt: skip


def counted(outcome: str) -> float:
    value = metrics.acknowledgements_total.labels(kind="spinner", outcome=outcome)._value.get()
    return float(value)


async def test_a_refused_or_silent_one_holds_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements_module, "DRAIN_SECONDS", 0.2)
    messenger = Spinner()
    acknowledgements = Acknowledgements(messenger)
    before = counted("MessageRejected"), counted("ok")
    acknowledgements.put(["hangs", "refused", "one", "two"], ACCOUNT)
    running = asyncio.create_task(acknowledgements.run())
    await acknowledgements.drain()
    assert messenger.said == ["one", "two"]
    assert (counted("MessageRejected"), counted("ok")) == (before[0] + 1, before[1] + 2)
    messenger.hold.set()
    await acknowledgements.drain()
    assert messenger.said == ["one", "two", "hangs"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_what_does_not_fit_is_counted_and_nobody_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acknowledgements_module, "KEPT", 2)
    acknowledgements = Acknowledgements(Spinner())
    before = counted("dropped")
    acknowledgements.put(["one", "two", "three"], ACCOUNT)
    assert counted("dropped") == before + 1
