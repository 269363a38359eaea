"""How the tests of ingest-meta speak: a page, an Instagram account, a client of each, webhooks about them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from ingest_meta.inbound import to_parsed
from ingest_meta.payloads import FileKey
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.contracts.events import InboundEvent, MediaRef
from msgkit.contracts.words import MessageKind

EventT = TypeVar("EventT", bound=InboundEvent)

FIXTURES = Path(__file__).parent.parent / "fixtures"
RECEIVED_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT_MS = 1795257001877
AT = datetime.fromtimestamp(AT_MS // 1000, UTC) + timedelta(milliseconds=AT_MS % 1000)
APP_SECRET = "0f7c4d9a5b3e41c2-app-secret"
PAGE, OTHER_PAGE = "604455667788990", "609999999999999"
PSID = "6721445566778899"
IG_ACCOUNT = "17841477001122334"
IGSID = "998877665544332"
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="facebook",
    account_id=PAGE,
    account_name="Салон «Мавка»",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"page_id": PAGE, "access_token": "EAAtoken"},
    webhook_secret="s3cret-verify",
)
OTHER = replace(ACCOUNT, channel_id="d" * 32, account_id=OTHER_PAGE)
INSTAGRAM = replace(
    ACCOUNT,
    channel_id="e" * 32,
    kind="instagram",
    account_id=IG_ACCOUNT,
    credentials={"access_token": "IGAAtoken"},
)
CDN = "https://scontent.xx.fbcdn.net/v/t1.15752-9/"


def request(body: bytes, headers: dict[bytes, bytes] | None = None) -> WebhookRequest:
    """A webhook with these bytes."""
    return WebhookRequest(headers or {}, body, "w" * 32, RECEIVED_AT)


def parse(said: object, account: Account = ACCOUNT) -> Parsed:
    """What becomes of a webhook: of a fixture by its name, of bytes, or of JSON."""
    if isinstance(said, str):
        said = fixture(said, account)
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return to_parsed(request(body), account)


def only(kind: type[EventT], said: object, account: Account = ACCOUNT) -> EventT:
    """The one event that becomes of it."""
    (event,) = parse(said, account).events
    assert isinstance(event, kind)
    return event


def fixture(name: str, account: Account = ACCOUNT) -> bytes:
    """The bytes of a fixture of the account's kind."""
    return (FIXTURES / account.kind / f"{name}.json").read_bytes()


def entry(*items: Any, account: Account = ACCOUNT, where: str = "messaging", **more: Any) -> dict[str, Any]:
    """An entry of this account with these items."""
    return {"id": account.account_id, "time": AT_MS + 140, where: list(items), **more}


def webhook(*entries: Any, account: Account = ACCOUNT) -> dict[str, Any]:
    """A webhook with these entries."""
    return {"object": "page" if account.kind == "facebook" else "instagram", "entry": list(entries)}


def wrote(*items: Any, account: Account = ACCOUNT, where: str = "messaging") -> dict[str, Any]:
    """A webhook with these items in one entry."""
    return webhook(entry(*items, account=account, where=where), account=account)


def item(account: Account = ACCOUNT, at: int = AT_MS, /, **rest: Any) -> dict[str, Any]:
    """Something the client did."""
    return {
        "sender": {"id": _client(account)},
        "recipient": {"id": account.account_id},
        "timestamp": at,
        **rest,
    }


def ours(account: Account = ACCOUNT, at: int = AT_MS, /, **rest: Any) -> dict[str, Any]:
    """Something the account did."""
    return {
        "sender": {"id": account.account_id},
        "recipient": {"id": _client(account)},
        "timestamp": at,
        **rest,
    }


def message(mid: str, text: str = "Добрий день", at: int = AT_MS, /, **more: Any) -> dict[str, Any]:
    """A text of the client to the page."""
    return item(ACCOUNT, at, message={"mid": mid, "text": text, **more})


def media(url: str, said: str, kind: MessageKind, name: str | None = None) -> MediaRef:
    """A file of a client at this address; `said` is Meta's word for the attachment."""
    return MediaRef(
        ref=FileKey(url, said).to_ref(),
        kind=kind,
        name=name,
        mime=None,
        size_bytes=None,
        width=None,
        height=None,
        duration_s=None,
    )


def _client(account: Account) -> str:
    return PSID if account.kind == "facebook" else IGSID
