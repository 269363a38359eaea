"""The Graph API as far as ingest-meta calls it, on a real socket; and the accounts that call it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

from ingest_meta.bodies import Request
from msgkit.connector.contract import Account
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.views import Welcome
from msgkit.testing.wire import Answer, Call, WireFake, as_json

TOKEN = "EAAGcanaryTokenOfThePage0123456789"
LOGIN_TOKEN = "IGAAcanaryTokenOfTheLogin0123456789"
PAGE, IG, APP = "604455667788990", "17841477001122334", "1517776481860111"
PSID, IGSID = "6721445566778899", "998877665544332"
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 1000
TAKEN = {"recipient_id": PSID, "message_id": "m_out1"}
PAGE_ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="facebook",
    account_id=PAGE,
    account_name="Салон «Мавка»",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"page_id": PAGE, "access_token": TOKEN},
    webhook_secret="s3cret-verify",
)
BY_PAGE = replace(
    PAGE_ACCOUNT,
    channel_id="d" * 32,
    kind="instagram",
    account_id=IG,
    credentials={"page_id": PAGE, "access_token": TOKEN},
)
BY_LOGIN = replace(
    PAGE_ACCOUNT,
    channel_id="e" * 32,
    kind="instagram",
    account_id=IG,
    credentials={"access_token": LOGIN_TOKEN},
)
TEXT = Request(PSID, "m.0", {"text": "Добрий день"}, is_by_person=True)


def late(account: Account) -> Account:
    """The account, allowed to answer late."""
    welcome = Welcome(text="", buttons=())
    return replace(account, settings=AccountSettings(welcome=welcome, commands=(), human_agent=True))


def refusal(code: int | None, subcode: int | None = None, status: int = 400, **more: Any) -> Answer:
    """As the fact sheet shows it."""
    error: dict[str, Any] = {"message": "(#1) Why.", "type": "OAuthException", "fbtrace_id": "Atrace", **more}
    if code is not None:
        error["code"] = code
    if subcode is not None:
        error["error_subcode"] = subcode
    return as_json({"error": error}, status)


class Hands:
    """A clock and seconds as a test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def clock(self) -> datetime:
        return NOW + timedelta(seconds=self.now - 1000.0)


@dataclass
class GraphFake:
    """`script` answers before the ordinary answers do, by the last step of the path."""

    script: dict[str, list[Answer]] = field(default_factory=dict)
    known: dict[str, Any] = field(default_factory=dict)
    uploads: int = 0
    file: bytes = JPEG
    wire: WireFake = field(init=False)

    def __post_init__(self) -> None:
        self.wire = WireFake(self.respond)

    def respond(self, call: Call) -> Answer:
        step = call.path.partition("?")[0].rpartition("/")[2]
        scripted = self.script.get(step)
        if scripted:
            return scripted.pop(0)
        if step == "message_attachments":
            self.uploads += 1
            return as_json({"attachment_id": 90000 + self.uploads})
        if step == "photo.jpg":
            return Answer(200, self.file, {"content-type": "image/jpeg"})
        if call.verb != "GET" and step in {"subscribed_apps", "take_thread_control"}:
            return as_json({"success": True})
        if step == "messages" and call.verb == "POST":
            body = json.loads(call.body)
            return as_json(TAKEN if "message" in body else {"recipient_id": body["recipient"]["id"]})
        return as_json(self.known[step]) if step in self.known else refusal(100, 33)

    def said(self, step: str, verb: str = "POST") -> list[dict[str, Any]]:
        """Bodies of the calls of this edge."""
        return [json.loads(call.body or b"{}") for call in self.calls(step, verb)]

    def calls(self, step: str, verb: str = "POST") -> list[Call]:
        """The calls of this edge."""
        paths = [(call, call.path.partition("?")[0]) for call in self.wire.calls]
        return [call for call, path in paths if path.endswith(f"/{step}") and call.verb == verb]


def asked(call: Call) -> dict[str, str]:
    """The query of a call."""
    return {key: value[0] for key, value in parse_qs(urlsplit(call.path).query).items()}
