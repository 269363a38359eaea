"""How the tests of ingest-whatsapp speak: one number of a salon, its clients, and webhooks about them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from ingest_whatsapp.inbound import to_parsed
from ingest_whatsapp.payloads import OBJECT
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.contracts.events import InboundEvent

EventT = TypeVar("EventT", bound=InboundEvent)

FIXTURES = Path(__file__).parent.parent / "fixtures" / "whatsapp"
RECEIVED_AT = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
AT_SECONDS = 1795257001
AT = datetime.fromtimestamp(AT_SECONDS, UTC)
APP_SECRET = "0f7c4d9a5b3e41c2-app-secret"
NUMBER = "201122334455667"
OTHER_NUMBER = "209999999999999"
WABA = "301122334455667"
OURS = "380445550100"
PHONE = "380671112233"
UID = "UA.88123456789012345678"
BY_PHONE, BY_UID = f"phone:{PHONE}", f"bsuid:{UID}"
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="whatsapp",
    account_id=NUMBER,
    account_name="Салон «Мавка»",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"phone_number_id": NUMBER, "waba_id": WABA, "access_token": "EAAtoken"},
    webhook_secret="s3cret-verify",
)
OTHER = replace(ACCOUNT, channel_id="d" * 32, account_id=OTHER_NUMBER)


def request(body: bytes, headers: dict[bytes, bytes] | None = None) -> WebhookRequest:
    """A webhook with these bytes."""
    return WebhookRequest(headers or {}, body, "w" * 32, RECEIVED_AT)


def parse(said: object, account: Account = ACCOUNT) -> Parsed:
    """What becomes of a webhook: of a fixture by its name, of bytes, or of JSON."""
    if isinstance(said, str):
        said = fixture(said)
    body = said if isinstance(said, bytes) else json.dumps(said).encode()
    return to_parsed(request(body), account)


def only(kind: type[EventT], said: object) -> EventT:
    """The one event that becomes of it."""
    (event,) = parse(said).events
    assert isinstance(event, kind)
    return event


def fixture(name: str) -> bytes:
    """The bytes of a fixture."""
    return (FIXTURES / f"{name}.json").read_bytes()


def envelope(*changes: tuple[str, Any], waba: str = WABA, **entry: Any) -> dict[str, Any]:
    """A webhook with these fields and their values in one entry."""
    told = [{"field": name, "value": value} for name, value in changes]
    return {"object": OBJECT, "entry": [{"id": waba, **entry, "changes": told}]}


def value(number: str = NUMBER, /, **rest: Any) -> dict[str, Any]:
    """The value of a change about a number of ours."""
    metadata = {"display_phone_number": OURS, "phone_number_id": number}
    return {"messaging_product": "whatsapp", "metadata": metadata, **rest}


def message(wamid: str, text: str = "Добрий день", at: int = AT_SECONDS, /, **more: Any) -> dict[str, Any]:
    """A text of the client."""
    told = {"from": PHONE, "id": wamid, "timestamp": str(at), "type": "text", "text": {"body": text}}
    return {**told, **more}


def contact(name: str = "Олена", **ids: str) -> dict[str, Any]:
    """An element of `contacts[]`."""
    return {"profile": {"name": name}, **(ids or {"wa_id": PHONE})}


def wrote(*messages: Any, contacts: list[Any] | None = None, **rest: Any) -> dict[str, Any]:
    """A webhook with messages of clients."""
    beside: dict[str, Any] = {} if contacts is None else {"contacts": contacts}
    return envelope(("messages", value(**beside, messages=list(messages), **rest)))
