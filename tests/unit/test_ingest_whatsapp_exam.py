"""WhatsApp takes the exam of a connector; what is WhatsApp's own stands in the tests beside."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from ingest_whatsapp.client import GraphClient
from ingest_whatsapp.connector import WhatsAppConnector
from ingest_whatsapp.payloads import OBJECT
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
from msgkit.contracts.words import FailureCode, MessageKind
from msgkit.runtime.objects import ObjectStore
from msgkit.testing.connector_suite import RECEIVED_AT, Case, ConnectorExam, ErrorRow
from msgkit.testing.wire import Answer, as_json

TOKEN = "EAAJh7ZC2xxNcBOzqR8canaryV4mW6kE"
APP_SECRET = "0f7c4d9a5b3e41c2canary8d6e1f2a"
HELLO = "Добрий день! Є місця на суботу?"
AT = datetime.fromtimestamp(1795257001, UTC)
ASK_IN_WORDS = "WhatsApp не передає таких повідомлень. Попросіть клієнта надіслати текстом або файлом."

CASES = [
    Case(
        "message__text",
        MessageKind.TEXT,
        HELLO,
        more={
            "sent_at": AT,
            "provider_id": "wamid.HBgMMzgwT1",
            "provider_seq": 1795257001,
            "start_payload": None,
            "pressed": None,
            "is_standby": False,
        },
    ),
    Case(
        "message__text_reply",
        MessageKind.TEXT,
        "Так, ця",
        more={"reply_to_provider_id": "wamid.HBgMMzgwOUT1"},
    ),
    Case("message__text_forwarded", MessageKind.TEXT, "Пересилаю", more={"reply_to_provider_id": None}),
    Case(
        "message__text_of_a_product",
        MessageKind.TEXT,
        "А в іншому кольорі?",
        more={"reply_to_provider_id": "wamid.HBgMMzgwOUT2"},
    ),
    Case(
        "message__text_from_an_ad",
        MessageKind.TEXT,
        "Хочу знижку",
        counted=("referral",),
        more={"start_payload": "120210000000000777"},
    ),
    Case("message__text_in_a_group", counted=("group",)),
    Case("message__text_empty", MessageKind.TEXT),
    Case("message__text_without_body", MessageKind.UNSUPPORTED, unsupported="text"),
    Case("message__text_of_wrong_type", MessageKind.UNSUPPORTED, unsupported="text"),
    Case("message__text_64_kb", MessageKind.TEXT, "Ж" * 32768, more={"raw": ""}),
    *(
        Case(f"message__{name}", MessageKind.TEXT, HELLO)
        for name in (
            "phone_and_user_id_with_parent",
            "user_id_only",
            "user_id_in_from",
            "wa_id_empty",
            "phone_only",
            "without_contacts",
            "contacts_of_another",
            "ids_only_in_contacts",
            "phone_of_brazil",
        )
    ),
    Case("message__numbers_as_text_and_text_as_numbers", MessageKind.TEXT, "цифри", more={"sent_at": AT}),
    Case("message__timestamp_missing", MessageKind.TEXT, HELLO, more={"sent_at": RECEIVED_AT}),
    Case("message__timestamp_in_milliseconds", MessageKind.TEXT, HELLO, more={"sent_at": AT}),
    Case("message__timestamp_odd", MessageKind.TEXT, HELLO, more={"sent_at": RECEIVED_AT}),
    Case("message__image", MessageKind.IMAGE, "чек"),
    Case("message__image_without_caption", MessageKind.IMAGE),
    Case("message__image_without_id", MessageKind.UNSUPPORTED, "загублене", unsupported="image"),
    Case("message__video", MessageKind.VIDEO, "відео"),
    Case("message__audio", MessageKind.AUDIO),
    Case("message__voice", MessageKind.VOICE),
    Case("message__document", MessageKind.FILE, "рахунок"),
    Case("message__document_without_name", MessageKind.FILE),
    Case("message__sticker", MessageKind.STICKER),
    Case("message__location", MessageKind.LOCATION, "https://maps.example/1"),
    Case("message__location_as_text", MessageKind.LOCATION),
    Case("message__location_off_the_map", MessageKind.UNSUPPORTED, unsupported="location"),
    Case("message__contact", MessageKind.CONTACT),
    Case("message__contact_own_number", MessageKind.CONTACT),
    Case("message__contact_asked_for", MessageKind.CONTACT),
    Case("message__contact_local_number", MessageKind.CONTACT),
    Case(
        "message__contacts_several",
        MessageKind.CONTACT,
        "Ірина Мороз: +380501112233\nОлена Коваль: +380671112233\nКонтакт: 112",
    ),
    Case("message__contact_without_name", MessageKind.CONTACT),
    Case("message__contacts_empty", MessageKind.UNSUPPORTED, unsupported="contacts"),
    Case("message__button_reply", MessageKind.TEXT, "Ціни"),
    Case("message__button_reply_title_only", MessageKind.TEXT, "Так", more={"pressed": None}),
    Case("message__list_reply", MessageKind.TEXT, "Стрижка"),
    Case(
        "message__flow_reply",
        MessageKind.TEXT,
        "Дата: 2026-12-01\nОсіб: 2\nВперше: так\nПослуги: манікюр, брови",
        more={"pressed": None},
    ),
    Case("message__flow_reply_unreadable", MessageKind.TEXT, "Надіслано"),
    Case("message__template_button", MessageKind.TEXT, "Ні"),
    Case("message__interactive_without_body", MessageKind.UNSUPPORTED, unsupported="interactive"),
    Case("message__interactive_new_kind", MessageKind.UNSUPPORTED, unsupported="call_permission_reply"),
    Case(
        "message__order",
        MessageKind.TEXT,
        "Замовлення:\nШампунь 250 × 3, 310.5 UAH\nМаска × 1\nподзвоніть",
    ),
    Case(
        "message__unsupported_edit",
        MessageKind.UNSUPPORTED,
        "Клієнт змінив одне зі своїх повідомлень, але WhatsApp не передає нового тексту. "
        "Якщо важливо, перепитайте.",
        unsupported="edit",
    ),
    Case("message__unsupported_poll", MessageKind.UNSUPPORTED, ASK_IN_WORDS, unsupported="poll"),
    Case(
        "message__unsupported_without_reason",
        MessageKind.UNSUPPORTED,
        "WhatsApp не передав, що саме надіслав клієнт. Попросіть написати словами.",
        unsupported="unsupported",
    ),
    Case(
        "message__file_over_100_mb",
        MessageKind.UNSUPPORTED,
        "Файл клієнта не вдалося завантажити: він більший за 100 МБ або вже недоступний. "
        "Попросіть надіслати його ще раз або меншим.",
        unsupported="video",
    ),
    Case(
        "message__only_in_the_app",
        MessageKind.UNSUPPORTED,
        "Це повідомлення видно лише в застосунку WhatsApp Business. Відкрийте його на телефоні салону.",
        unsupported="view_once",
    ),
    Case("message__new_type", MessageKind.UNSUPPORTED, "Я з майбутнього", unsupported="hologram"),
    Case("message__without_type", MessageKind.UNSUPPORTED, unsupported="empty"),
    Case("standby__message", MessageKind.TEXT, "привіт, боте", more={"is_standby": True}),
    Case("standby__status", counted=("status_delivered",)),
    Case("handovers__control", counted=("messaging_handovers",)),
    Case("system__new_identity", counted=("customer_identity_changed",)),
    Case("status__sent", counted=("status_sent",)),
    Case("status__delivered_to_a_user_id", counted=("status_delivered",)),
    Case("status__read", counted=("status_read",)),
    Case("status__played", counted=("status_played",)),
    Case("status__failed_window", counted=("status_failed",)),
    Case("status__failed_without_errors", counted=("status_failed",)),
    Case("status__deleted", counted=("status_deleted",)),
    Case("status__new_kind", counted=("status_unknown",)),
    Case("status__of_nothing", counted=("status_of_nothing",)),
    Case("status__numbers_as_numbers", counted=("status_delivered",)),
    Case("address_book__removed", counted=("smb_app_state_sync", "address_book_skipped")),
    Case("history__declined", counted=("history", "history_chunk", "history_declined")),
    Case("history__done", counted=("history", "history_chunk")),
    *(
        Case(f"account__{name}", counted=("account_update",))
        for name in (
            "partner_removed",
            "offboarded",
            "reconnected",
            "banned",
            "ban_to_come",
            "ban_lifted",
            "violation",
            "restricted",
            "location_set",
        )
    ),
    Case("account__quality", counted=("phone_number_quality_update",)),
    Case("account__template_approved", counted=("message_template_status_update",)),
    Case("account__errors", counted=("errors",)),
    Case("account__errors_passing", counted=("errors",)),
    Case("account__of_another_waba", counted=("other_account",)),
    Case("webhook__of_another_number", counted=("other_account",)),
    Case("webhook__dashboard_test", counted=("test",)),
    Case("webhook__entry_empty", counted=("empty",)),
    Case("webhook__unknown_field", counted=("unknown_field",)),
    Case("webhook__unknown_field_of_the_account", counted=("unknown_field",)),
    Case("webhook__of_another_product", quarantined=True),
    Case("webhook__without_object", quarantined=True),
    Case("webhook__without_entries", quarantined=True),
]
OWN_TESTS = {
    # What happens to messages, contacts and batches is no single message: test_ingest_whatsapp_inbound.
    *("reaction__put", "reaction__taken_off", "reaction__taken_off_empty", "edit__text", "edit__caption"),
    *("revoke__text", "system__new_number", "system__new_number_old_name", "system__new_user_id"),
    *("echo__text", "echo__image", "echo__revoke", "echo__edit", "echo__reaction"),
    *("standby__echo_of_the_agent", "address_book__added", "history__chunk"),
    *("history__file_of_a_placeholder", "webhook__batch"),
    # One element cannot be understood, the rest of its webhook can.
    *("message__of_nobody", "message__parent_id_only", "message__without_id", "message__id_empty"),
    *("reaction__on_nothing", "echo__to_nobody", "webhook__messages_without_metadata"),
    "webhook__change_without_value",
}


def refusal(code: int, status: int = 400, **more: Any) -> Answer:
    error = {
        "message": f"(#{code}) canary",
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "A1",
        **more,
    }
    return as_json({"error": error}, status)


REJECTED = {"code": FailureCode.REJECTED}
# A row of each class; the whole table stands in test_ingest_whatsapp_refusals.
ERRORS: list[tuple[str, Answer, type[Exception], dict[str, Any]]] = [
    ("token", refusal(190, 401), CredentialsInvalid, {}),
    ("permission", refusal(10, 403), CredentialsInvalid, {}),
    ("account locked", refusal(131031, 403), CredentialsInvalid, {}),
    ("payment", refusal(131042), MessageRejected, REJECTED),
    ("not registered", refusal(133010), CredentialsInvalid, {}),
    ("number gone", refusal(100, error_subcode=33), CredentialsInvalid, {}),
    ("throughput", refusal(130429, 429), Throttled, {"only_this_contact": False}),
    ("pair", refusal(131056), Throttled, {"only_this_contact": True}),
    ("spam", refusal(131048), Throttled, {"only_this_contact": False}),
    ("hourly", refusal(80007), Throttled, {"only_this_contact": False}),
    ("temporary", refusal(131016, 503), ProviderUnavailable, {}),
    ("upgrade", refusal(131057), ProviderUnavailable, {}),
    ("unreachable", refusal(131026), RecipientUnreachable, {"blocked": False}),
    ("window", refusal(131047), MessageRejected, {"code": FailureCode.WINDOW_CLOSED}),
    ("needs a phone", refusal(131062), MessageRejected, {"code": FailureCode.RECIPIENT_UNAVAILABLE}),
    ("type", refusal(131051), MessageRejected, {"code": FailureCode.UNSUPPORTED_KIND}),
    ("parameter", refusal(131009), MessageRejected, REJECTED),
    ("unheard of", refusal(987654), MessageRejected, REJECTED),
    ("transient", refusal(987654, is_transient=True), ProviderUnavailable, {}),
    ("429 alone", Answer(429), Throttled, {"only_this_contact": False}),
    ("500", Answer(500, b"<html>"), DeliveryUnknown, {}),
    ("302", Answer(302, b"", {"location": "http://127.0.0.1:1/"}), DeliveryUnknown, {}),
    ("no json", Answer(200, b"<html>"), DeliveryUnknown, {}),
    ("no id", as_json({"messaging_product": "whatsapp", "messages": []}), DeliveryUnknown, {}),
]


def signature(body: bytes, secret: str = APP_SECRET) -> bytes:
    return b"sha256=" + hmac.new(secret.encode(), body, "sha256").hexdigest().encode()


class TestWhatsApp(ConnectorExam):
    """Kind `whatsapp`."""

    fixtures = Path(__file__).parent.parent / "fixtures" / "whatsapp"
    least_fixtures = 60
    cases = CASES
    other_fixtures = frozenset(OWN_TESTS)
    contact_key = "phone:380671112233"
    # 131026 says five things at once, so nobody is called blocked.
    tells_blocked = False
    account = Account(
        channel_id="c" * 32,
        tenant_id="salon",
        kind="whatsapp",
        account_id="201122334455667",
        account_name="Салон «Мавка»",
        api_base=None,
        state="active",
        problem=None,
        paused_until=None,
        credentials={
            "phone_number_id": "201122334455667",
            "waba_id": "301122334455667",
            "access_token": TOKEN,
            "app_secret": APP_SECRET,
        },
        webhook_secret="s3cret",
    )
    app_secrets: ClassVar = [APP_SECRET]
    secrets: ClassVar = [TOKEN, APP_SECRET, "s3cret"]
    error_rows: ClassVar = [ErrorRow(name, answer, error, fields) for name, answer, error, fields in ERRORS]

    def connector(self) -> WhatsAppConnector:
        return WhatsAppConnector(client=None)  # type: ignore[arg-type]  # pure members only

    @asynccontextmanager
    async def calling(self, api_base: str) -> AsyncIterator[tuple[WhatsAppConnector, Account]]:
        connector = WhatsAppConnector(GraphClient(ObjectStore("file:///nowhere"), api_base))
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
            b"sha256=",
            right[:-1],
            right.removeprefix(b"sha256="),
            right.replace(b"sha256", b"sha1"),
            right[:7] + right[7:].upper(),
            right + b"0",
            signature(body, "x"),
            b"sha256=\xff\xfe",
        ]:
            yield {SIGNATURE_HEADER: given}

    def text_of(self, request: Any) -> str:
        return str(request.said)

    def batch(self, bodies: Sequence[bytes]) -> bytes:
        entries: list[Any] = []
        for body in bodies:
            whole = json.loads(body)
            entries += whole["entry"] if isinstance(whole.get("entry"), list) else [whole]
        return json.dumps({"object": OBJECT, "entry": entries}).encode()

    def answer_of_registration(self) -> Answer:
        return as_json({"success": True, "data": [], "id": "201122334455667"})
