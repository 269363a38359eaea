"""A messenger of the tests' own that calls one address for all accounts of an app.

`python -m app_messenger` runs its ingest service.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from plain_messenger import MANIFEST as PLAIN
from plain_messenger import Phone, PlainConnector, signature

from msgkit.connector.contract import (
    Account,
    AccountAlert,
    AppPart,
    ConnectionReport,
    Identity,
    Parsed,
    WebhookRequest,
)
from msgkit.connector.errors import PayloadInvalid, SignatureInvalid
from msgkit.connector.ingest import build_ingest
from msgkit.connector.settings import AppSettings, IngestSettings
from msgkit.contracts.internal_api import MessageTemplate
from msgkit.contracts.manifest import Manifest
from msgkit.runtime.service import Service, run

KIND = "plain_app"
SERVICE = "ingest-plain-app"
MANIFEST: Manifest = PLAIN.model_copy(
    update={
        "kind": KIND,
        "service": SERVICE,
        "credentials_schema": {
            "properties": {
                "token": {"type": "string", "title": "Номер"},
                "group": {"type": "string", "title": "Група номерів"},
                "app_secret": {"type": "string", "title": "Секрет застосунку"},
            },
            "required": ["token"],
        },
    }
)


class Settings(AppSettings, IngestSettings):
    """As a service of Meta's messengers has them."""


@dataclass
class Answers:
    """What the messenger answers about accounts; `fault` is raised instead."""

    registered: dict[str, str] = field(default_factory=dict)
    """Account → the address of its webhooks."""
    report: ConnectionReport = field(default_factory=lambda: ConnectionReport(True, None, None))
    fault: Exception | None = None
    templates: list[MessageTemplate] = field(default_factory=list)


class AppConnector(PlainConnector):
    """`{"entries": [{"of": account or group, "messages": […], "receipts": […], "alerts": […]}]}`."""

    def __init__(self, phone: Phone, answers: Answers) -> None:
        super().__init__(phone)
        self._answers = answers

    @property
    def manifest(self) -> Manifest:
        return MANIFEST

    # --- the app

    def verify_app(self, request: WebhookRequest, secrets: Sequence[str]) -> None:
        given = request.headers.get(b"x-signature", b"")
        if not any(hmac.compare_digest(given, signature(request.body, secret)) for secret in secrets):
            raise SignatureInvalid("not ours")

    def shake_hands(self, query: bytes, verify_tokens: Sequence[str]) -> bytes:
        said = parse_qs(query.decode("latin-1"))
        token, challenge = said.get("hub.verify_token", [""])[0], said.get("hub.challenge", [""])[0]
        is_ours = any(hmac.compare_digest(token.encode(), each.encode()) for each in verify_tokens)
        if said.get("hub.mode") != ["subscribe"] or not is_ours:
            raise SignatureInvalid("not ours")
        return challenge.encode()

    def split(self, request: WebhookRequest) -> Sequence[AppPart]:
        return [
            AppPart(str(entry["of"]), json.dumps(entry).encode())
            for entry in _said(request.body).get("entries", ())
        ]

    def needs_own_address(self, account: Account) -> bool:
        return bool(account.credentials.get("app_secret"))

    # --- one account

    def verify(self, request: WebhookRequest, account: Account) -> None:
        if not self.needs_own_address(account):
            raise SignatureInvalid("it has no app of its own")
        self.verify_app(request, (account.credentials["app_secret"],))

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        said = _said(request.body)
        if said.get("breaks"):
            raise PayloadInvalid("it says that it breaks")
        return replace(
            super().parse(request, account),
            alerts=tuple(_alert(one) for one in said.get("alerts", ())),
            counted=tuple(said.get("counted", ())),
        )

    async def probe(self, account: Account) -> Identity:
        group = account.credentials.get("group")
        return Identity(account.credentials["token"], "plain", (f"group:{group}",) if group else ())

    async def connect(self, account: Account, webhook_url: str) -> None:
        self._answers.registered[account.account_id] = webhook_url

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        del account, webhook_url
        if self._answers.fault is not None:
            raise self._answers.fault
        return self._answers.report

    async def templates(self, account: Account) -> Sequence[MessageTemplate]:
        del account
        if self._answers.fault is not None:
            raise self._answers.fault
        return self._answers.templates


def _said(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except ValueError as exc:
        raise PayloadInvalid("no JSON") from exc
    if not isinstance(said, dict):
        raise PayloadInvalid("no object")
    return said


def _alert(said: Mapping[str, Any]) -> AccountAlert:
    return AccountAlert(
        said["problem"], bool(said.get("is_disconnected")), datetime.fromisoformat(said["at"])
    )


def build() -> Service:
    """The service, wired and not yet running."""
    settings = Settings()
    return build_ingest(AppConnector(Phone(), Answers()), settings, app=settings.app_keys())


if __name__ == "__main__":
    run(build)
