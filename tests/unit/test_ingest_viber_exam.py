"""Viber bots take the exam of a connector; what is Viber's own stands in the tests beside."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from ingest_viber.client import ViberClient
from ingest_viber.connector import ViberBotConnector
from ingest_viber.downloads import Downloads
from ingest_viber.payloads import SIGNATURE_HEADER
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.public_media import PublicAddresses
from msgkit.contracts.words import FailureCode, MessageKind
from msgkit.testing.connector_suite import RECEIVED_AT, Case, ConnectorExam, ErrorRow
from msgkit.testing.wire import Answer, as_json

TOKEN = "44b935abea139fd6-53fa53b32559c4a6-12dbd3d883b06835"
OLENA = "5h2COTj83ZE6IAsIcTEVGw=="
REJECTED = {"code": FailureCode.REJECTED}
ODD = {"code": FailureCode.UNSUPPORTED_KIND}

CASES = [
    Case("message__text", MessageKind.TEXT, "Добрий день", more={"start_payload": None, "pressed": None}),
    Case("message__text_64_kb", MessageKind.TEXT, "Ж" * 32768, more={"raw": ""}),
    Case("message__text_empty", MessageKind.TEXT),
    Case("message__text_of_wrong_type", MessageKind.UNSUPPORTED, unsupported="text"),
    Case("message__text_silent", MessageKind.TEXT, "https://a.ua/x"),
    Case(
        "message__token_as_text",
        MessageKind.TEXT,
        "токен рядком",
        more={"provider_id": "5851650804048789999", "provider_seq": 5851650804048789999},
    ),
    Case(
        "message__token_rounded_by_javascript",
        MessageKind.TEXT,
        "VREAL-B",
        more={"provider_id": "5080382391595440000"},
    ),
    Case("message__token_as_float", quarantined=True),
    Case("message__token_above_2_63", quarantined=True),
    Case("message__without_token", quarantined=True),
    Case("message__without_sender", quarantined=True),
    Case("message__sender_empty", quarantined=True),
    Case("message__sender_id_as_number", MessageKind.TEXT, "номер"),
    Case("message__sender_without_name", MessageKind.TEXT, "без імені"),
    Case("message__sender_placeholder", MessageKind.TEXT, "прихований"),
    Case("message__sender_emoji_name", MessageKind.TEXT, "смайлик"),
    Case("message__sender_with_device", MessageKind.TEXT, "з пристроєм"),
    Case("message__timestamp_missing", MessageKind.TEXT, "коли", more={"sent_at": RECEIVED_AT}),
    Case("message__timestamp_of_wrong_type", MessageKind.TEXT, "коли", more={"sent_at": RECEIVED_AT}),
    Case(
        "message__unknown_fields",
        MessageKind.TEXT,
        "нове",
        more={"sent_at": datetime(2026, 11, 21, 10, 30, 20, 123000, UTC)},
    ),
    Case("message__picture", MessageKind.IMAGE, "фото"),
    Case("message__picture_without_caption", MessageKind.IMAGE),
    Case("message__picture_without_media", MessageKind.UNSUPPORTED, "фото", unsupported="picture"),
    Case("message__video", MessageKind.VIDEO),
    Case("message__video_as_documented", MessageKind.VIDEO),
    Case("message__file", MessageKind.FILE),
    Case("message__file_voice_note", MessageKind.FILE),
    Case("message__sticker", MessageKind.STICKER),
    Case("message__sticker_id_as_text", MessageKind.STICKER),
    Case("message__contact", MessageKind.CONTACT),
    Case("message__contact_without_plus", MessageKind.CONTACT),
    Case("message__contact_local_number", MessageKind.CONTACT),
    Case("message__contact_empty", MessageKind.UNSUPPORTED, unsupported="contact"),
    Case("message__location", MessageKind.LOCATION),
    Case("message__location_as_text", MessageKind.LOCATION),
    Case("message__location_off_the_map", MessageKind.UNSUPPORTED, unsupported="location"),
    Case("message__url", MessageKind.TEXT, "https://a.ua/x"),
    Case("message__url_with_words", MessageKind.TEXT, "Гляньте 👋\nhttps://a.ua/x"),
    Case("message__unknown_type", MessageKind.UNSUPPORTED, "Коли зручно?", unsupported="poll"),
    Case("message__rich_media", MessageKind.UNSUPPORTED, unsupported="rich_media"),
    Case("message__without_type", MessageKind.UNSUPPORTED, "без типу", unsupported="empty"),
    Case("message__message_empty", MessageKind.UNSUPPORTED, unsupported="empty"),
    Case(
        "new_kind__message_like", MessageKind.UNSUPPORTED, "Я з майбутнього", unsupported="message_reaction"
    ),
    Case("new_kind__opaque", counted=("unknown_event",)),
    Case("client_status__seen_in_the_wild", counted=("client_status",)),
    Case("webhook__check", counted=("webhook",)),
    Case("callback__without_event", quarantined=True),
    Case("callback__event_of_wrong_type", quarantined=True),
    Case("conversation_started__with_context", counted=("conversation_started", "deep_link")),
    Case("conversation_started__plain", counted=("conversation_started",)),
    Case("conversation_started__subscribed", counted=("conversation_started",)),
    Case("conversation_started__user_empty", counted=("conversation_started",)),
    Case("subscribed__user_empty", quarantined=True),
    Case("unsubscribed__without_user", quarantined=True),
    Case("delivered__own", counted=("delivered",)),
    Case("delivered__without_user", counted=("receipt_of_nobody",)),
    Case("seen__own", counted=("seen",)),
    Case("failed__without_desc", counted=("failed",)),
    Case("failed__with_desc", counted=("failed",)),
]
OWN_TESTS = {"subscribed__new", "unsubscribed__left", "unsubscribed__test_vector"}


# The fact sheet's 3.7, row by row.
STATUSES: list[tuple[int, str | None, type[Exception], dict[str, Any]]] = [
    (1, "invalidUrl", MessageRejected, REJECTED),
    (2, "invalidAuthToken", CredentialsInvalid, {}),
    (3, "badData", MessageRejected, REJECTED),
    (4, "missingData", MessageRejected, REJECTED),
    (5, "receiverNotRegistered", RecipientUnreachable, {"blocked": False}),
    (6, "receiverNotSubscribed", RecipientUnreachable, {"blocked": True}),
    (6, None, RecipientUnreachable, {"blocked": True}),
    (7, "publicAccountBlocked", CredentialsInvalid, {}),
    (8, "publicAccountNotFound", CredentialsInvalid, {}),
    (9, "publicAccountSuspended", CredentialsInvalid, {}),
    (10, "webhookNotSet", ProviderUnavailable, {}),
    (11, "receiverNoSuitableDevice", RecipientUnreachable, {"blocked": False}),
    (12, "tooManyRequests", Throttled, {"retry_after_seconds": 2.0}),
    (13, "apiVersionNotSupported", MessageRejected, ODD),
    (14, "incompatibleWithVersion", MessageRejected, ODD),
    (15, "publicAccountNotAuthorized", CredentialsInvalid, {}),
    (16, "inchatReplyMessageNotAllowed", MessageRejected, ODD),
    (17, "publicAccountIsNotInline", MessageRejected, ODD),
    (18, "noPublicChat", MessageRejected, ODD),
    (19, "cannotSendBroadcast", MessageRejected, ODD),
    (20, "broadcastNotAllowed", MessageRejected, ODD),
    (21, "unsupportedCountry", RecipientUnreachable, {"blocked": False}),
    (22, "paymentUnsupported", MessageRejected, ODD),
    (23, "freeMessagesExceeded", MessageRejected, REJECTED),
    (24, "noBalance", MessageRejected, REJECTED),
    (999, "Bad receiver ID", RecipientUnreachable, {"blocked": False}),
    (77, "notSubscribed", RecipientUnreachable, {"blocked": True}),
    (77, "something new", ProviderUnavailable, {}),
]
ANSWERS: list[tuple[str, Answer, type[Exception], dict[str, Any]]] = [
    ("429", Answer(429), Throttled, {"retry_after_seconds": 2.0}),
    ("429 after", Answer(429, b"", {"retry-after": "7"}), Throttled, {"retry_after_seconds": 7.0}),
    ("429 at once", Answer(429, b"", {"retry-after": "0"}), Throttled, {"retry_after_seconds": 1.0}),
    ("429 date", Answer(429, b"", {"retry-after": "soon"}), Throttled, {"retry_after_seconds": 2.0}),
    ("500", Answer(500, b"<html>"), DeliveryUnknown, {}),
    ("502", as_json({"status": 0}, 502), DeliveryUnknown, {}),
    ("413", Answer(413, b"<html>"), MessageRejected, {"code": FailureCode.TOO_LONG}),
    ("302", Answer(302, b"", {"location": "http://127.0.0.1:1/"}), DeliveryUnknown, {}),
    ("no json", Answer(200, b"<html>"), DeliveryUnknown, {}),
    ("empty", Answer(200, b""), DeliveryUnknown, {}),
    ("list", as_json([0]), DeliveryUnknown, {}),
    ("no status", as_json({"message_token": 1}), DeliveryUnknown, {}),
    ("status true", as_json({"status": True}), DeliveryUnknown, {}),
    ("status as text", as_json({"status": "6"}), RecipientUnreachable, {"blocked": True}),
]


def signature(body: bytes, token: str = TOKEN) -> bytes:
    return hmac.new(token.encode(), body, "sha256").hexdigest().encode()


class TestViberBot(ConnectorExam):
    """Kind `viber_bot`."""

    fixtures = Path(__file__).parent.parent / "fixtures" / "viber"
    cases = CASES
    other_fixtures = frozenset(OWN_TESTS)
    contact_key = OLENA
    account = Account(
        channel_id="c" * 32,
        tenant_id="salon",
        kind="viber_bot",
        account_id="pa:5000000000000000001",
        account_name="Салон «Ромашка»",
        api_base=None,
        state="active",
        problem=None,
        paused_until=None,
        credentials={"token": TOKEN},
        webhook_secret="s3cret",
    )
    secrets: ClassVar = [TOKEN, "s3cret"]
    error_rows: ClassVar = [
        ErrorRow(
            f"status {status} {message}",
            as_json({"status": status} | ({"status_message": message} if message else {})),
            error,
            fields,
        )
        for status, message, error, fields in STATUSES
    ] + [ErrorRow(name, answer, error, fields) for name, answer, error, fields in ANSWERS]

    def connector(self) -> ViberBotConnector:
        return ViberBotConnector(client=None, downloads=None)  # type: ignore[arg-type]  # pure members only

    @asynccontextmanager
    async def calling(self, api_base: str) -> AsyncIterator[tuple[ViberBotConnector, Account]]:
        addresses = PublicAddresses("https://chat.example.com", "k", {"k": b"k" * 32})
        connector = ViberBotConnector(ViberClient("viber_bot", addresses, api_base), Downloads())
        try:
            yield connector, self.account
        finally:
            await connector.aclose()

    def signed(self, body: bytes) -> Mapping[bytes, bytes]:
        return {SIGNATURE_HEADER: signature(body)}

    def forged(self, body: bytes) -> Iterator[Mapping[bytes, bytes]]:
        yield {}
        right = signature(body)
        for given in [
            b"",
            right[:-1],
            right.upper(),
            right + b"0",
            signature(body, "x"),
            b"\xff\xfe",
            b"sig",
        ]:
            yield {SIGNATURE_HEADER: given}

    def text_of(self, request: Any) -> str:
        return str(request.text)

    def answer_of_registration(self) -> Answer:
        return as_json({"status": 0, "status_message": "ok", "event_types": ["delivered"]})
