"""Messenger and Instagram take the exam of a connector; what is their own stands in the tests beside."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar

from meta_cases import FACEBOOK_CASES, FACEBOOK_OWN_TESTS, INSTAGRAM_CASES, INSTAGRAM_OWN_TESTS
from meta_talk import ACCOUNT, FIXTURES, IGSID, INSTAGRAM, PSID, ours

from ingest_meta.client import GraphClient
from ingest_meta.connector import MetaConnector
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.hub import SIGNATURE_HEADER
from msgkit.contracts.words import FailureCode
from msgkit.runtime.objects import ObjectStore
from msgkit.testing.connector_suite import ConnectorExam, ErrorRow
from msgkit.testing.wire import Answer, as_json

PAGE_TOKEN = "EAAJh7ZC2xxNcBOzqR8canaryV4mW6kE"
INSTAGRAM_TOKEN = "IGAAGm1ZA9canaryT2dWxNcBOzqR8V4"
EXAM_SECRET = "0f7c4d9a5b3e41c2canary8d6e1f2a"


def refusal(code: int, status: int = 400, subcode: int | None = None, **more: Any) -> Answer:
    error = {
        "message": f"(#{code}) canary",
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "A1",
        **more,
    }
    return as_json({"error": error if subcode is None else {**error, "error_subcode": subcode}}, status)


WINDOW = {"code": FailureCode.WINDOW_CLOSED, "is_human_agent_refused": False}
REJECTED = {"code": FailureCode.REJECTED}
# A row of each class; the whole table stands in test_ingest_meta_refusals.
ERRORS = [
    ErrorRow("token", refusal(190, 401), CredentialsInvalid),
    ErrorRow("password", refusal(190, 401, 460), CredentialsInvalid),
    ErrorRow("permission", refusal(10, 403), CredentialsInvalid),
    ErrorRow("permission of the 200s", refusal(230, 403), CredentialsInvalid),
    ErrorRow("blocked for policy", refusal(368, 403), CredentialsInvalid),
    ErrorRow("person away", refusal(551), RecipientUnreachable, {"blocked": False}),
    ErrorRow("person takes nothing", refusal(10, 403, 2018108), RecipientUnreachable, {"blocked": False}),
    ErrorRow("no such person", refusal(100, 400, 2018001), RecipientUnreachable),
    ErrorRow("app's limit", refusal(4, 400), Throttled, {"only_this_contact": False}),
    ErrorRow("calls too fast", refusal(613, 400), Throttled, {"only_this_contact": False}),
    ErrorRow("429 alone", Answer(429), Throttled, {"only_this_contact": False}),
    ErrorRow("temporary", refusal(2, 503), ProviderUnavailable),
    ErrorRow("temporary by its own word", refusal(987654, is_transient=True), ProviderUnavailable),
    ErrorRow("retired tag", refusal(100), MessageRejected, REJECTED),
    ErrorRow("unheard of", refusal(987654), MessageRejected, REJECTED),
    ErrorRow("500", Answer(500, b"<html>"), DeliveryUnknown),
    ErrorRow("302", Answer(302, b"", {"location": "http://127.0.0.1:1/"}), DeliveryUnknown),
    ErrorRow("no json", Answer(200, b"<html>"), DeliveryUnknown),
    ErrorRow("no id", as_json({"recipient_id": "1"}), DeliveryUnknown),
]


def signature(body: bytes, secret: str = EXAM_SECRET) -> bytes:
    return b"sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest().encode()


class MetaExam(ConnectorExam):
    """What both kinds say alike."""

    least_fixtures = 60
    # 551 says three things at once, so nobody is called blocked.
    tells_blocked = False
    app_secrets: ClassVar = [EXAM_SECRET]

    def connector(self) -> MetaConnector:
        return MetaConnector(client=None)  # type: ignore[arg-type]  # pure members only

    @asynccontextmanager
    async def calling(self, api_base: str) -> AsyncIterator[tuple[MetaConnector, Account]]:
        connector = MetaConnector(GraphClient(ObjectStore("file:///nowhere")))
        try:
            yield connector, replace(self.account, api_base=api_base)
        finally:
            await connector.aclose()

    def signed(self, body: bytes) -> Mapping[bytes, bytes]:
        return {SIGNATURE_HEADER: signature(body)}

    def forged(self, body: bytes) -> Iterator[Mapping[bytes, bytes]]:
        yield {}
        right = signature(body)
        for given in [
            b"",
            b"sha256=",
            right[:-1],
            right.removeprefix(b"sha256="),
            right.replace(b"sha256", b"sha1"),
            right[:7] + right[7:].upper(),
            right + b"0",
            signature(body, "another app's"),
            b"sha256=\xff\xfe",
        ]:
            yield {SIGNATURE_HEADER: given}

    def text_of(self, request: Any) -> str:
        return str(request.said)

    def batch(self, bodies: Sequence[bytes]) -> bytes:
        entries: list[Any] = []
        for body in bodies:
            whole = json.loads(body)
            known = whole.get("object") == self.object and isinstance(whole.get("entry"), list)
            entries += whole["entry"] if known else [] if "object" in whole else [whole]
        return json.dumps({"object": self.object, "entry": entries}).encode()

    def echo(self, provider_id: str, mark: str | None) -> bytes:
        told = {"is_echo": True, "mid": provider_id, "text": "Так"}
        said = ours(self.account, message=told if mark is None else {**told, "metadata": mark})
        return json.dumps(
            {"object": self.object, "entry": [{"id": self.account.account_id, "messaging": [said]}]}
        ).encode()

    object: ClassVar[str]


class TestFacebook(MetaExam):
    """Kind `facebook`."""

    fixtures = FIXTURES / "facebook"
    object = "page"
    cases = FACEBOOK_CASES
    other_fixtures = FACEBOOK_OWN_TESTS
    contact_key = PSID
    account = replace(
        ACCOUNT,
        credentials={"page_id": ACCOUNT.account_id, "access_token": PAGE_TOKEN, "app_secret": EXAM_SECRET},
    )
    secrets: ClassVar = [PAGE_TOKEN, EXAM_SECRET, ACCOUNT.webhook_secret]
    error_rows: ClassVar = [
        *ERRORS,
        ErrorRow("window", refusal(10, 403, 2018278), MessageRejected, WINDOW),
        ErrorRow("window by its old code", refusal(10, 403, 2018065), MessageRejected, WINDOW),
    ]

    def answer_of_registration(self) -> Answer:
        return as_json({"success": True, "data": [], "id": self.account.account_id})


class TestInstagram(MetaExam):
    """Kind `instagram`, with the account's own login."""

    fixtures = FIXTURES / "instagram"
    object = "instagram"
    cases = INSTAGRAM_CASES
    other_fixtures = INSTAGRAM_OWN_TESTS
    contact_key = IGSID
    account = replace(INSTAGRAM, credentials={"access_token": INSTAGRAM_TOKEN, "app_secret": EXAM_SECRET})
    secrets: ClassVar = [INSTAGRAM_TOKEN, EXAM_SECRET, INSTAGRAM.webhook_secret]
    error_rows: ClassVar = [
        *ERRORS,
        ErrorRow("window", refusal(10, 403, 2534022), MessageRejected, WINDOW),
        ErrorRow("calls too fast by its subcode", refusal(613, 400, 2534040), Throttled),
    ]

    def answer_of_registration(self) -> Answer:
        return as_json({"success": True, "data": [], "user_id": self.account.account_id, "username": "mavka"})
