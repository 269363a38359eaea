"""Telegram bots take the exam of a connector; what is Telegram's own stands in the tests beside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

from ingest_telegram.client import TelegramClient
from ingest_telegram.connector import TelegramBotConnector
from ingest_telegram.payloads import SECRET_HEADER
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.contracts.words import FailureCode, MessageKind
from msgkit.runtime.objects import ObjectStore
from msgkit.testing.connector_suite import RECEIVED_AT, Case, ConnectorExam, ErrorRow
from msgkit.testing.wire import as_json

TOKEN = "7000000001:AAE-canary-token-0123456789abcdefgh"
ODD = {"code": FailureCode.UNSUPPORTED_KIND}

CASES = [
    Case("message__text_with_url", MessageKind.TEXT, "👋 Ціна https://a.ua"),
    Case(
        "message__start_with_payload",
        MessageKind.TEXT,
        "/start crm_7f3A-9",
        more={"start_payload": "crm_7f3A-9"},
    ),
    Case("message__start_plain", MessageKind.TEXT, "/start", more={"start_payload": ""}),
    Case("message__photo_in_album", MessageKind.IMAGE, "Дві фото", more={"group_id": "13891234567890123"}),
    Case("message__photo_without_caption", MessageKind.IMAGE),
    Case("message__photo_sizes_out_of_order", MessageKind.IMAGE, "До і після"),
    Case("message__live_photo", MessageKind.IMAGE),
    Case("message__video_in_album", MessageKind.VIDEO, more={"group_id": "13891234567890199"}),
    Case("message__video_over_the_download_limit", MessageKind.VIDEO, "Велике відео"),
    Case("message__audio", MessageKind.AUDIO),
    Case("message__voice_with_caption", MessageKind.VOICE, "Послухайте"),
    Case("message__document_without_name", MessageKind.FILE),
    Case("message__document_in_album", MessageKind.FILE, more={"group_id": "13891234567890200"}),
    Case("message__sticker_animated", MessageKind.STICKER, "💇"),
    Case("message__sticker_video", MessageKind.STICKER, "💇"),
    Case("message__live_location", MessageKind.LOCATION),
    Case("message__location_off_the_map", MessageKind.UNSUPPORTED, unsupported="location"),
    Case("message__contact_from_address_book", MessageKind.CONTACT),
    Case("message__contact_own_with_plus", MessageKind.CONTACT),
    Case("message__poll", MessageKind.UNSUPPORTED, unsupported="poll"),
    Case("message__dice", MessageKind.UNSUPPORTED, unsupported="dice"),
    Case("message__story", MessageKind.UNSUPPORTED, unsupported="story"),
    Case("message__paid_media", MessageKind.UNSUPPORTED, "Платне", unsupported="paid_media"),
    Case("message__video", MessageKind.VIDEO),
    Case("message__video_note", MessageKind.VIDEO),
    Case("message__animation", MessageKind.VIDEO),
    Case("message__voice", MessageKind.VOICE),
    Case("message__document", MessageKind.FILE, "рахунок"),
    Case("message__sticker", MessageKind.STICKER, "👍"),
    Case("message__location", MessageKind.LOCATION),
    Case("message__venue", MessageKind.LOCATION),
    Case("message__contact_own", MessageKind.CONTACT, more={"reply_to_provider_id": "39"}),
    Case("message__contact_foreign", MessageKind.CONTACT),
    Case("message__forward_with_quote", MessageKind.TEXT, "ще діє?"),
    Case("message__unknown_origin_tag", MessageKind.TEXT, "Переслано"),
    Case("message__unknown_content", MessageKind.UNSUPPORTED, unsupported="checklist"),
    Case("message__text_of_wrong_type", MessageKind.UNSUPPORTED, unsupported="text"),
    Case("message__null_lists", MessageKind.UNSUPPORTED, unsupported="new_thing"),
    Case("message__photo_without_file", MessageKind.UNSUPPORTED, "Що це?", unsupported="photo"),
    Case("message__odd_entities", MessageKind.TEXT, "👋 привіт"),
    Case("message__ids_above_2_53", MessageKind.TEXT, "великі числа"),
    Case("message__without_from", MessageKind.TEXT, "чат і є клієнт"),
    Case("message__date_of_wrong_type", MessageKind.TEXT, "Коли?", more={"sent_at": RECEIVED_AT}),
    Case(
        "new_kind__message_like",
        MessageKind.UNSUPPORTED,
        "Я з майбутнього",
        unsupported="note_from_the_future",
    ),
    Case("message__ids_above_2_63", quarantined=True),
    Case("message__without_author", quarantined=True),
    Case("new_kind__opaque", quarantined=True),
    Case("update__empty", quarantined=True),
    Case("message__pinned", counted=("service_note",)),
    Case("message__group_anonymous_admin", counted=("not_private",)),
    Case("my_chat_member__in_group", counted=("not_private",)),
    Case("edited_message__live_location", counted=("live_location",)),
    Case("channel_post__text", counted=("channel_post",)),
    Case("callback_query__in_group", counted=("not_private",)),
    Case("callback_query__inline_message", counted=("not_private",)),
    Case("callback_query__game", counted=("press_without_data",)),
    Case("callback_query__without_id", quarantined=True),
    Case("message_reaction__group", counted=("message_reaction",)),
    Case("business_connection__enabled", counted=("business_connection",)),
    Case("business_message__text", counted=("business_message",)),
    Case("edited_business_message__text", counted=("edited_business_message",)),
    Case("deleted_business_messages__one", counted=("deleted_business_messages",)),
]
OWN_TESTS = {
    "callback_query__press",
    "callback_query__second_row",
    "callback_query__button_not_in_message",
    "callback_query__inaccessible_message",
    "edited_message__text",
    "edited_message__caption",
    "edited_message__media",
    "my_chat_member__kicked",
    "my_chat_member__member",
}


# The fact sheet's 1.8, row by row.
ROWS: list[tuple[int, str, dict[str, Any] | None, type[Exception], dict[str, Any]]] = [
    (403, "Forbidden: bot was blocked by the user", None, RecipientUnreachable, {"blocked": True}),
    (403, "Forbidden: user is deactivated", None, RecipientUnreachable, {"blocked": False}),
    (
        403,
        "Forbidden: bot can't initiate conversation with a user",
        None,
        RecipientUnreachable,
        {"blocked": False},
    ),
    (403, "Forbidden: bot was kicked from the group chat", None, RecipientUnreachable, {"blocked": False}),
    (
        403,
        "Forbidden: bot is not a member of the channel chat",
        None,
        RecipientUnreachable,
        {"blocked": False},
    ),
    (403, "Forbidden: the group chat was deleted", None, RecipientUnreachable, {"blocked": False}),
    (403, "Forbidden: something new", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: chat not found", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: private chat not found", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: chat_id is empty", None, RecipientUnreachable, {"blocked": False}),
    (
        400,
        "Bad Request: group chat was upgraded to a supergroup chat",
        {"migrate_to_chat_id": -1001},
        RecipientUnreachable,
        {"blocked": False},
    ),
    (400, "Bad Request: message text is empty", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Bad Request: message is too long", None, MessageRejected, {"code": FailureCode.TOO_LONG}),
    (
        400,
        "Bad Request: can't parse entities: byte offset 5",
        None,
        MessageRejected,
        {"code": FailureCode.REJECTED},
    ),
    (400, "Bad Request: wrong HTTP URL specified", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Bad Request: file is too big", None, MessageRejected, {"code": FailureCode.FILE_TOO_BIG}),
    (400, "Bad Request: file must be non-empty", None, MessageRejected, ODD),
    (400, "Bad Request: PHOTO_INVALID_DIMENSIONS", None, MessageRejected, ODD),
    (400, "Bad Request: IMAGE_PROCESS_FAILED", None, MessageRejected, ODD),
    (400, "Bad Request: can't use file of type Video as Photo", None, MessageRejected, ODD),
    (400, "Bad Request: VIDEO_CONTENT_TYPE_INVALID", None, MessageRejected, ODD),
    (400, "Bad Request: VOICE_MESSAGES_FORBIDDEN", None, MessageRejected, ODD),
    (
        400,
        "Bad Request: wrong file_id or the file is temporarily unavailable",
        None,
        MessageRejected,
        {"code": FailureCode.REJECTED},
    ),
    (400, "Bad Request: BUTTON_DATA_INVALID", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Bad Request: BOT_COMMAND_INVALID", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (
        400,
        "Bad Request: query is too old and response timeout expired or query ID is invalid",
        None,
        MessageRejected,
        {"code": FailureCode.REJECTED},
    ),
    (400, "Bad Request: CHAT_WRITE_FORBIDDEN", None, RecipientUnreachable, {"blocked": False}),
    (400, "Bad Request: USER_IS_BLOCKED", None, RecipientUnreachable, {"blocked": True}),
    (400, "Bad Request: SOME_NEW_CONSTANT", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (400, "Logged out", None, CredentialsInvalid, {}),
    (401, "Unauthorized", None, CredentialsInvalid, {}),
    (401, "Unauthorized: invalid token specified", None, CredentialsInvalid, {}),
    (404, "Not Found", None, CredentialsInvalid, {}),
    (404, "Not Found: method not found", None, MessageRejected, {"code": FailureCode.REJECTED}),
    (409, "Conflict: something else", None, ProviderUnavailable, {"problem": None}),
    (413, "Request Entity Too Large", None, MessageRejected, {"code": FailureCode.FILE_TOO_BIG}),
    (429, "Too Many Requests: retry after 30", {"retry_after": 30}, Throttled, {"retry_after_seconds": 30.0}),
    (429, "Too Many Requests: retry after 7", None, Throttled, {"retry_after_seconds": 7.0}),
    (429, "Too Many Requests", {"retry_after": "soon"}, Throttled, {"retry_after_seconds": 5.0}),
    (500, "Internal Server Error: restart", None, DeliveryUnknown, {}),
    (502, "Bad Gateway", None, DeliveryUnknown, {}),
    (302, "Found", None, DeliveryUnknown, {}),
    (418, "I'm a teapot", None, MessageRejected, {"code": FailureCode.REJECTED}),
]


class TestTelegramBot(ConnectorExam):
    """Kind `telegram_bot`."""

    fixtures = Path(__file__).parent.parent / "fixtures" / "telegram"
    cases = CASES
    other_fixtures = frozenset(OWN_TESTS)
    account = Account(
        channel_id="c" * 32,
        tenant_id="salon",
        kind="telegram_bot",
        account_id="7000000001",
        account_name="@shop_bot",
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
            f"{code} {description}",
            as_json(
                {"ok": False, "error_code": code, "description": description}
                | ({"parameters": parameters} if parameters else {}),
                code,
            ),
            error,
            fields,
        )
        for code, description, parameters, error, fields in ROWS
    ]

    def connector(self) -> TelegramBotConnector:
        return TelegramBotConnector(client=None)  # type: ignore[arg-type]  # the pure members make no call

    @asynccontextmanager
    async def calling(self, api_base: str) -> AsyncIterator[tuple[TelegramBotConnector, Account]]:
        with TemporaryDirectory() as folder:
            client = TelegramClient("telegram_bot", ObjectStore(Path(folder).as_uri()), api_base)
            try:
                yield TelegramBotConnector(client), self.account
            finally:
                await client.aclose()

    def signed(self, body: bytes) -> Mapping[bytes, bytes]:
        del body  # Telegram does not sign: it brings the secret along
        return {SECRET_HEADER: self.account.webhook_secret.encode()}

    def forged(self, body: bytes) -> Iterator[Mapping[bytes, bytes]]:
        del body
        yield {}
        for given in [b"", b"s3cre", b"s3cretx", b"S3CRET", "é".encode(), b"\xff\xfe"]:
            yield {SECRET_HEADER: given}

    def text_of(self, request: Any) -> str:
        return str(request.text)

    def test_both_secrets_hold_while_the_secret_changes(self) -> None:
        changing = replace(self.account, webhook_secret="new", previous_secret="s3cret")
        for secret in (b"new", b"s3cret"):
            self.connector().verify(self._request(b"{}", {SECRET_HEADER: secret}), changing)
