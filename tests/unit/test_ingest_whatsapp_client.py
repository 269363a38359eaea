"""The calls of the Cloud API over a real socket: sending, uploads, pauses, set-up, signals, downloads."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from ingest_whatsapp.bodies import Request
from ingest_whatsapp.client import GraphClient
from ingest_whatsapp.files import File, FileKind
from ingest_whatsapp.graph import graph
from ingest_whatsapp.payloads import FileKey
from ingest_whatsapp.uploads import Uploads
from msgkit.connector.contract import Account
from msgkit.connector.errors import (
    PROVIDER_ERRORS,
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    Throttled,
)
from msgkit.connector.graph_api import ANSWER_MAX_BYTES, Ask
from msgkit.connector.pauses import Pauses, retry_after_s, usage_wait_s
from msgkit.contracts.words import FailureCode
from msgkit.runtime.clock import utc_now
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.testing.wire import Answer, Call, WireFake, as_json

TOKEN = "EAAGcanaryTokenOfTheNumber0123456789"
NUMBER, WABA = "106540352242922", "102290129340398"
HOOK = "https://chat.example.com/webhooks/whatsapp"
ACCOUNT = Account(
    channel_id="c" * 32,
    tenant_id="salon",
    kind="whatsapp",
    account_id=NUMBER,
    account_name="Ромашка",
    api_base=None,
    state="active",
    problem=None,
    paused_until=None,
    credentials={"phone_number_id": NUMBER, "waba_id": WABA, "access_token": TOKEN},
    webhook_secret="s3cret",
)
OWN_APP = replace(
    ACCOUNT, credentials={**ACCOUNT.credentials, "app_secret": "9e107d9d372bb6826bd81d3542a419d6"}
)
ANOTHER = replace(ACCOUNT, channel_id="d" * 32)
TEXT = Request({"to": "380671234567"}, "m.0", "text", {"body": "Добрий день"})
TAKEN = {"messaging_product": "whatsapp", "messages": [{"id": "wamid.OUT1", "message_status": "accepted"}]}
JPEG = b"\xff\xd8\xff\xe0" + b"picture" * 1000


def refusal(code: int, status: int = 400, details: str = "Why.", **more: Any) -> Answer:
    """As the fact sheet shows it."""
    error = {
        "message": f"(#{code}) X",
        "type": "OAuthException",
        "code": code,
        "fbtrace_id": "Atrace",
        **more,
    }
    return as_json({"error": {**error, "error_data": {"details": details}}}, status)


@dataclass
class Meta:
    """Graph as far as we call it; `script` answers before the ordinary answers do."""

    number: dict[str, Any] = field(
        default_factory=lambda: {
            "id": NUMBER,
            "verified_name": "Салон «Мавка»",
            "display_phone_number": "+380 44 555 07 83",
            "quality_rating": "GREEN",
            "status": "CONNECTED",
            "webhook_configuration": {"application": HOOK},
        }
    )
    numbers: list[str] = field(default_factory=lambda: [NUMBER])
    subscribed: bool = True
    script: dict[str, list[Answer]] = field(default_factory=dict)
    uploads: int = 0
    file: bytes = JPEG
    wire: WireFake = field(init=False)

    def __post_init__(self) -> None:
        self.wire = WireFake(self.respond)

    def respond(self, call: Call) -> Answer:
        path = call.path.partition("?")[0]
        step = path.rpartition("/")[2]
        scripted = self.script.get(step)
        if scripted:
            return scripted.pop(0)
        if step == "bytes":
            return Answer(200, self.file, {"content-type": "image/jpeg"})
        if step == "media":
            self.uploads += 1
        if call.verb != "GET" and step in {NUMBER, "subscribed_apps"}:
            return as_json({"success": True})
        listed = [{"whatsapp_business_api_data": {"id": "1"}}] if self.subscribed else []
        known = {
            "messages": {"success": True} if "status" in call.fields else TAKEN,
            "media": {"id": f"90{self.uploads}"},
            "subscribed_apps": {"data": listed},
            "phone_numbers": {"data": [{"id": one} for one in self.numbers]},
            "777": {"url": f"{self.wire.url}/bytes?x=1", "mime_type": "image/jpeg", "id": "777"},
            NUMBER: self.number,
        }
        return as_json(known[step]) if step in known else refusal(100, error_subcode=33)

    def said(self, step: str, verb: str = "POST") -> list[dict[str, Any]]:
        """Bodies of the calls of this edge."""
        calls = [call for call in self.wire.calls if call.path.partition("?")[0].endswith(f"/{step}")]
        return [json.loads(call.body or b"{}") for call in calls if call.verb == verb]


class Hands:
    """Seconds as a test moves them."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest_asyncio.fixture
async def meta() -> AsyncIterator[Meta]:
    meta = Meta()
    await meta.wire.start()
    yield meta
    await meta.wire.stop()


@pytest.fixture
def objects(tmp_path: Path) -> ObjectStore:
    return ObjectStore((tmp_path / "objects").as_uri())


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest_asyncio.fixture
async def client(meta: Meta, objects: ObjectStore, hands: Hands) -> AsyncIterator[GraphClient]:
    client = GraphClient(objects, meta.wire.url, monotonic=hands)
    yield client
    await client.aclose()


@pytest.fixture
def keep(objects: ObjectStore, tmp_path: Path) -> Callable[..., Any]:
    """Stores a file; returns a request that sends it."""

    async def keep(content: bytes = JPEG, mark: str = "m.0", **more: Any) -> Request:
        key, path = new_key(), tmp_path / "content"
        path.write_bytes(content)
        await objects.put_file(key, path)
        fields: dict[str, Any] = {
            "kind": FileKind.IMAGE,
            "key": key,
            "mime": "image/jpeg",
            "name": "фото.jpg",
            "size_bytes": len(content),
            "is_voice": False,
        }
        file = File(**{**fields, **more})
        return Request({"to": "380671234567"}, mark, file.kind.value, {"caption": "було"}, file)

    return keep


# --- messages


async def test_accepted_message_has_its_wamid(client: GraphClient, meta: Meta) -> None:
    assert (await client.send(ACCOUNT, TEXT)).provider_ids == ["wamid.OUT1"]
    (call,) = meta.wire.calls
    assert (call.verb, call.path) == ("POST", f"/v25.0/{NUMBER}/messages")
    assert call.headers["authorization"] == f"Bearer {TOKEN}"
    assert call.headers["user-agent"]
    assert TOKEN.encode() not in call.body
    assert json.loads(call.body)["biz_opaque_callback_data"] == "m.0"


async def test_own_api_base_is_called_under_its_path(client: GraphClient, meta: Meta) -> None:
    await client.send(replace(ACCOUNT, api_base=f"{meta.wire.url}/graph"), TEXT)
    assert meta.wire.calls[0].path == f"/graph/v25.0/{NUMBER}/messages"


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"messages": []}),
        as_json({"messages": [{"id": ""}]}),
        as_json([]),
        Answer(200, b"<html>"),
        Answer(502, b"<html>Bad gateway"),
        Answer(500, b"{}"),
        Answer(302, b"", {"location": "https://elsewhere.example/"}),
        Answer(404, b"not here"),
        Answer(200, b"[" * 100_000),
        Answer(200, b'{"x":"' + b"x" * ANSWER_MAX_BYTES + b'"}'),
        Answer(does="drop"),
        Answer(does="reset"),
    ],
)
async def test_answer_that_says_nothing_certain_is_unknown(
    client: GraphClient, meta: Meta, answer: Answer
) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises(DeliveryUnknown):
        await client.send(ACCOUNT, TEXT)
    assert len(meta.wire.calls) == 1


async def test_silence_is_unknown(client: GraphClient, meta: Meta) -> None:
    slow = replace(Ask("POST", f"{NUMBER}/messages", "messages"), seconds=0.2, delivers=True)
    meta.script["messages"] = [Answer(does="hang")]
    with pytest.raises(DeliveryUnknown):
        await client._graph.call(ACCOUNT, slow)


async def test_refused_connection_is_no_delivery(objects: ObjectStore) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    client = GraphClient(objects, f"http://127.0.0.1:{port}")
    with pytest.raises(ProviderUnavailable):
        await client.send(ACCOUNT, TEXT)
    await client.aclose()


async def test_graph_that_says_itself_that_it_failed_did_not_take_it(client: GraphClient, meta: Meta) -> None:
    meta.script["messages"] = [refusal(131000, 500)]
    with pytest.raises(ProviderUnavailable):
        await client.send(ACCOUNT, TEXT)


@pytest.mark.parametrize("token", ["", "with space", "кирилиця", "line\nbreak"])
async def test_token_that_cannot_be_one_makes_no_call(client: GraphClient, meta: Meta, token: str) -> None:
    account = replace(ACCOUNT, credentials={**ACCOUNT.credentials, "access_token": token})
    with pytest.raises(CredentialsInvalid):
        await client.send(account, TEXT)
    assert meta.wire.calls == []


async def test_ids_that_would_lead_elsewhere_make_no_call(client: GraphClient, meta: Meta) -> None:
    with pytest.raises(CredentialsInvalid):
        await client.send(replace(ACCOUNT, account_id="me/../1"), TEXT)
    with pytest.raises(CredentialsInvalid):
        await client.templates(replace(ACCOUNT, credentials={**ACCOUNT.credentials, "waba_id": "1?x=2"}))
    assert meta.wire.calls == []


async def test_refusal_is_logged_with_its_trace_and_without_secrets(
    client: GraphClient, meta: Meta, capfd: pytest.CaptureFixture[str]
) -> None:
    meta.script["messages"] = [refusal(131009, details=f"{TOKEN} Добрий день")]
    with pytest.raises(MessageRejected):
        await client.send(ACCOUNT, TEXT)
    said = "".join(capfd.readouterr())
    assert "Atrace" in said
    assert TOKEN not in said
    assert "Добрий" not in said


# --- pauses


async def test_limit_of_the_number_holds_it_and_no_other(
    client: GraphClient, meta: Meta, hands: Hands
) -> None:
    meta.script["messages"] = [refusal(130429)]
    with pytest.raises(Throttled) as first:
        await client.send(ACCOUNT, TEXT)
    with pytest.raises(Throttled) as held:
        await client.send(ACCOUNT, TEXT)
    assert held.value.retry_after_seconds == first.value.retry_after_seconds
    await client.send(ANOTHER, TEXT)
    assert len(meta.said("messages")) == 2
    hands.now += first.value.retry_after_seconds
    meta.script["messages"] = [refusal(130429)]
    with pytest.raises(Throttled) as again:
        await client.send(ACCOUNT, TEXT)
    assert again.value.retry_after_seconds == 2 * first.value.retry_after_seconds
    hands.now += again.value.retry_after_seconds
    await client.send(ACCOUNT, TEXT)


async def test_limit_of_a_pair_holds_nobody_else(client: GraphClient, meta: Meta) -> None:
    meta.script["messages"] = [refusal(131056)]
    with pytest.raises(Throttled) as caught:
        await client.send(ACCOUNT, TEXT)
    assert caught.value.only_this_contact
    await client.send(ACCOUNT, TEXT)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(429, b"<html>", {"retry-after": "17"}), 17.0),
        (Answer(429, b"{}"), 2.0),
        (replace(refusal(2, 429), headers={"retry-after": "9"}), 9.0),
        (replace(refusal(80007), headers={"x-business-use-case-usage": json.dumps(
            {"1": [{"type": "whatsapp", "estimated_time_to_regain_access": 3}]})}), 180.0),
    ],
)  # fmt: skip
async def test_how_long_it_waits(client: GraphClient, meta: Meta, answer: Answer, seconds: float) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises(Throttled) as caught:
        await client.send(ACCOUNT, TEXT)
    assert caught.value.retry_after_seconds == seconds


async def test_usage_told_with_a_good_answer_holds_the_next_call_not_this_one(
    client: GraphClient, meta: Meta, hands: Hands
) -> None:
    usage = json.dumps({"1": [{"type": "whatsapp", "estimated_time_to_regain_access": 1}]})
    meta.script["messages"] = [replace(as_json(TAKEN), headers={"x-business-use-case-usage": usage})]
    assert (await client.send(ACCOUNT, TEXT)).provider_ids == ["wamid.OUT1"]
    with pytest.raises(Throttled) as caught:
        await client.send(ACCOUNT, TEXT)
    assert caught.value.retry_after_seconds == 60.0
    hands.now += 60
    await client.send(ACCOUNT, TEXT)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("x", 0), ("[]", 0), ("{}", 0), ('{"1":[]}', 0), ('{"1":[null]}', 0),
        ('{"1":[{"call_count":94,"total_time":1,"estimated_time_to_regain_access":0}]}', 0),
        ('{"1":[{"call_count":96,"total_time":1,"estimated_time_to_regain_access":0}]}', 30),
        ('{"1":[{"estimated_time_to_regain_access":"2"}],"2":[{"estimated_time_to_regain_access":5}]}', 300),
        ('{"1":[{"estimated_time_to_regain_access":1e9}]}', 86400),
        ('{"1":[{"estimated_time_to_regain_access":-1}]}', 0),
    ],
)  # fmt: skip
def test_what_the_usage_asks_for(header: str | None, seconds: float) -> None:
    assert usage_wait_s(header) == seconds


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("5", 5), (None, 0), ("-1", 0), ("Wed, 21 Oct 2026", 0), ("1e9", 0), ("999999", 86_400)],
)
def test_retry_after_is_seconds(header: str | None, seconds: float) -> None:
    assert retry_after_s(header) == seconds


def test_calls_side_by_side_count_as_one_refusal(hands: Hands) -> None:
    pauses = Pauses(hands)
    assert [pauses.refused("c", 2.0) for _ in range(3)] == [2.0, 2.0, 2.0]
    hands.now += 2
    assert pauses.refused("c", 2.0) == 4.0
    hands.now += 4
    pauses.over("c")
    assert pauses.refused("c", 2.0) == 2.0


# --- files of ours


async def test_file_is_uploaded_once_and_sent_by_its_id(client: GraphClient, meta: Meta, keep: Any) -> None:
    request = await keep()
    await client.send(ACCOUNT, request)
    await client.send(ACCOUNT, request)
    upload, first, second = meta.wire.calls
    assert upload.path == f"/v25.0/{NUMBER}/media"
    assert upload.fields == {"messaging_product": "whatsapp"}
    assert upload.files == {"file": JPEG}
    assert upload.headers["content-length"].isdigit()
    assert b'filename="file.jpg"\r\nContent-Type: image/jpeg\r\n' in upload.body
    assert json.loads(first.body)["image"] == {"id": "901", "caption": "було"}
    assert json.loads(second.body)["image"]["id"] == "901"
    await client.send(ANOTHER, request)
    assert meta.uploads == 2


async def test_ogg_says_its_codec(client: GraphClient, meta: Meta, keep: Any) -> None:
    await client.send(
        ACCOUNT, await keep(kind=FileKind.AUDIO, mime="audio/ogg", name="голос.ogg", is_voice=True)
    )
    assert b"Content-Type: audio/ogg; codecs=opus\r\n" in meta.wire.calls[0].body


@pytest.mark.parametrize("code", [100, 131009, 131051, 131053])
async def test_a_file_the_upload_does_not_take_is_refused_before_anything_is_sent(
    client: GraphClient, meta: Meta, keep: Any, code: int
) -> None:
    request = await keep(kind=FileKind.DOCUMENT, mime="application/zip", name="усе.zip")
    meta.script["media"] = [refusal(code, details="must be a file with one of the following types: …")]
    with pytest.raises(MessageRejected) as caught:
        await client.send(ACCOUNT, request)
    assert caught.value.code is FailureCode.UNSUPPORTED_KIND
    assert "посилання" in caught.value.text
    assert meta.said("messages") == []


async def test_an_upload_refused_for_another_reason_is_no_fault_of_the_file(
    client: GraphClient, meta: Meta, keep: Any
) -> None:
    for answer, error in (
        (refusal(100, is_transient=True), ProviderUnavailable),
        (refusal(100, error_subcode=33), CredentialsInvalid),
        (refusal(190, 401), CredentialsInvalid),
        (refusal(130429), Throttled),
    ):
        meta.script["media"] = [answer]
        with pytest.raises(error):
            await client.send(ACCOUNT, await keep())


async def test_broken_upload_has_delivered_nothing(client: GraphClient, meta: Meta, keep: Any) -> None:
    request = await keep()
    for answer in (Answer(does="drop"), Answer(does="reset"), Answer(500, b"<html>"), as_json({"no": "id"})):
        meta.script["media"] = [answer]
        with pytest.raises(ProviderUnavailable):
            await client.send(ACCOUNT, request)
    assert meta.said("messages") == []
    await client.send(ACCOUNT, request)


async def test_file_that_left_the_store_is_final(client: GraphClient, meta: Meta, keep: Any) -> None:
    request = await keep()
    gone = replace(request, file=replace(request.file, key=new_key()))
    with pytest.raises(MessageRejected):
        await client.send(ACCOUNT, gone)
    assert meta.wire.calls == []


async def test_refused_file_is_uploaded_anew_twice_and_then_final(
    client: GraphClient, meta: Meta, keep: Any
) -> None:
    request = await keep()
    meta.script["messages"] = [refusal(131053) for _ in range(3)]
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await client.send(ACCOUNT, request)
    with pytest.raises(MessageRejected) as caught:
        await client.send(ACCOUNT, request)
    assert caught.value.code is FailureCode.UNSUPPORTED_KIND
    assert meta.uploads == 3


async def test_old_id_that_is_gone_is_uploaded_anew(client: GraphClient, meta: Meta, keep: Any) -> None:
    request = await keep()
    await client.send(ACCOUNT, request)
    meta.script["messages"] = [refusal(100)]
    with pytest.raises(ProviderUnavailable):
        await client.send(ACCOUNT, request)
    await client.send(ACCOUNT, request)
    assert meta.uploads == 2
    fresh = await keep(mark="m.1")
    meta.script["messages"] = [refusal(100)]
    with pytest.raises(MessageRejected):
        await client.send(ACCOUNT, fresh)


async def test_ids_of_uploads_are_forgotten_before_meta_forgets_them(
    meta: Meta, objects: ObjectStore, keep: Any
) -> None:
    request = await keep()
    api = graph(meta.wire.url)
    moments = [utc_now()]
    uploads = Uploads(api, objects, lambda: moments[-1])
    assert await uploads.make(ACCOUNT, NUMBER, request.file) == "901"
    moments.append(moments[0] + timedelta(days=24.9))
    assert uploads.known(ACCOUNT, request.file) == "901"
    moments.append(moments[0] + timedelta(days=25.1))
    assert uploads.known(ACCOUNT, request.file) is None
    await api.aclose()


# --- signals


async def test_signals_name_the_clients_message(client: GraphClient, meta: Meta) -> None:
    await client.mark_read("phone:380671234567", "wamid.IN1", ACCOUNT)
    await client.show_typing("phone:380671234567", "wamid.IN1", ACCOUNT)
    read = {"messaging_product": "whatsapp", "status": "read", "message_id": "wamid.IN1"}
    assert meta.said("messages") == [read, {**read, "typing_indicator": {"type": "text"}}]
    meta.script["messages"] = [Answer(does="drop")]
    with pytest.raises(ProviderUnavailable):
        await client.mark_read("phone:380671234567", "wamid.IN1", ACCOUNT)


# --- the account


async def test_number_behind_the_credentials(client: GraphClient, meta: Meta) -> None:
    draft = replace(ACCOUNT, account_id="")
    identity = await client.who_am_i(draft)
    assert (identity.account_id, identity.account_name) == (NUMBER, "Салон «Мавка»")
    assert identity.also_known_as == (f"waba:{WABA}", "number:380445550783")
    meta.numbers = ["999"]
    with pytest.raises(CredentialsInvalid) as caught:
        await client.who_am_i(draft)
    assert "waba_id" in caught.value.text


async def test_refused_token_says_what_to_do(client: GraphClient, meta: Meta) -> None:
    meta.script[NUMBER] = [refusal(190, 401)]
    with pytest.raises(CredentialsInvalid) as caught:
        await client.who_am_i(ACCOUNT)
    assert "токен" in caught.value.text


async def test_number_of_our_app_is_subscribed_without_an_address(client: GraphClient, meta: Meta) -> None:
    await client.connect(ACCOUNT, HOOK)
    assert meta.said("subscribed_apps") == [{}]
    assert meta.said(NUMBER) == []


async def test_left_over_address_of_a_number_is_taken_away(client: GraphClient, meta: Meta) -> None:
    meta.number["webhook_configuration"] = {"phone_number": "https://other.example/x", "application": HOOK}
    await client.connect(ACCOUNT, HOOK)
    assert meta.said(NUMBER) == [{"webhook_configuration": {"override_callback_uri": ""}}]


async def test_number_of_an_own_app_gets_its_own_address(client: GraphClient, meta: Meta) -> None:
    url = f"{HOOK}/{'c' * 32}"
    await client.connect(OWN_APP, url)
    assert meta.said("subscribed_apps") == [{}]
    assert meta.said(NUMBER) == [
        {"webhook_configuration": {"override_callback_uri": url, "verify_token": "s3cret"}}
    ]
    with pytest.raises(MessageRejected):
        await client.connect(OWN_APP, f"https://{'x' * 200}")


@pytest.mark.parametrize(
    ("number", "connected", "words"),
    [
        ({}, True, None),
        ({"quality_rating": "RED"}, True, "Якість"),
        ({"quality_rating": "UNKNOWN"}, True, None),
        ({"status": "BANNED"}, False, "BANNED"),
        ({"webhook_configuration": {"application": "https://other.example/x"}}, False, HOOK),
        ({"webhook_configuration": {}}, False, HOOK),
        ({"webhook_configuration": None}, True, None),
        ({"webhook_configuration": {"phone_number": "https://x.example", "application": HOOK}}, False, HOOK),
    ],
)
async def test_how_a_number_is_connected(
    client: GraphClient, meta: Meta, number: dict[str, Any], connected: bool, words: str | None
) -> None:
    meta.number |= number
    report = await client.check(ACCOUNT, HOOK)
    assert report.connected is connected
    assert (words is None and report.problem is None) or (words or "") in (report.problem or "")


async def test_account_without_a_subscription_is_not_connected(client: GraphClient, meta: Meta) -> None:
    meta.subscribed = False
    report = await client.check(ACCOUNT, HOOK)
    assert (report.connected, report.problem is not None) == (False, True)


async def test_number_held_back_for_spam_says_so_for_as_long(
    client: GraphClient, meta: Meta, hands: Hands
) -> None:
    meta.script["messages"] = [refusal(131048)]
    with pytest.raises(Throttled) as caught:
        await client.send(ACCOUNT, TEXT)
    assert caught.value.retry_after_seconds >= 600
    hands.now += 1
    # The number must be looked at although it may not send.
    report = await client.check(ACCOUNT, HOOK)
    assert "спам" in (report.problem or "")
    hands.now += caught.value.retry_after_seconds
    assert (await client.check(ACCOUNT, HOOK)).problem is None


async def test_a_locked_account_is_not_switched_on_again_for_one_send_after_another(
    client: GraphClient, meta: Meta, hands: Hands
) -> None:
    meta.script["messages"] = [refusal(131031)]
    with pytest.raises(CredentialsInvalid) as caught:
        await client.send(ACCOUNT, TEXT)
    stopped = replace(ACCOUNT, state="disconnected")
    with pytest.raises(CredentialsInvalid) as held:
        await client.check(stopped, HOOK)
    assert held.value.text == caught.value.text
    # A person switched it on: the next send shows whether that was right.
    assert (await client.check(ACCOUNT, HOOK)).connected
    assert (await client.check(replace(stopped, channel_id=ANOTHER.channel_id), HOOK)).connected
    hands.now += 3600
    assert (await client.check(stopped, HOOK)).connected


async def test_a_new_token_is_good_at_once(client: GraphClient, meta: Meta) -> None:
    meta.script["messages"] = [refusal(190, 401)]
    with pytest.raises(CredentialsInvalid):
        await client.send(ACCOUNT, TEXT)
    assert (await client.check(replace(ACCOUNT, state="disconnected"), HOOK)).connected


async def test_a_payment_that_fails_costs_the_message_and_tells_the_administrator(
    client: GraphClient, meta: Meta
) -> None:
    meta.script["messages"] = [refusal(131042)]
    with pytest.raises(MessageRejected):
        await client.send(ACCOUNT, TEXT)
    report = await client.check(ACCOUNT, HOOK)
    assert (report.connected, "оплату" in (report.problem or "")) == (True, True)
    await client.send(ACCOUNT, TEXT)


async def test_a_country_that_is_closed_to_us_costs_no_other_client(client: GraphClient, meta: Meta) -> None:
    meta.script["messages"] = [refusal(130497)]
    with pytest.raises(MessageRejected):
        await client.send(ACCOUNT, TEXT)
    assert (await client.check(ACCOUNT, HOOK)).problem is None


async def test_subscription_goes_with_the_last_number_only(client: GraphClient, meta: Meta) -> None:
    await client.disconnect(ACCOUNT)
    assert meta.said("subscribed_apps", "DELETE") == [{}]
    meta.numbers = [NUMBER, "999"]
    await client.disconnect(ACCOUNT)
    await client.disconnect(OWN_APP)
    assert len(meta.said("subscribed_apps", "DELETE")) == 1
    assert meta.said(NUMBER) == [{"webhook_configuration": {"override_callback_uri": ""}}]


# --- templates


async def test_templates_of_all_pages(client: GraphClient, meta: Meta) -> None:
    def page(name: str, after: str | None) -> Answer:
        body = {"type": "BODY", "text": "Вітаємо"}
        one = {
            "name": name,
            "language": "uk",
            "status": "APPROVED",
            "category": "UTILITY",
            "components": [body],
        }
        paging = {} if after is None else {"next": "https://evil.example/", "cursors": {"after": after}}
        return as_json({"data": [one], "paging": paging})

    meta.script["message_templates"] = [page("b", "p2"), page("a", "p3"), page("c", None)]
    assert [template.name for template in await client.templates(ACCOUNT)] == ["a", "b", "c"]
    assert [call.path.rpartition("after=")[2] for call in meta.wire.calls][1:] == ["p2", "p3"]


async def test_pages_that_go_in_a_circle_end(client: GraphClient, meta: Meta) -> None:
    again = as_json({"data": [], "paging": {"next": "x", "cursors": {"after": "p1"}}})
    meta.script["message_templates"] = [again for _ in range(10)]
    assert await client.templates(ACCOUNT) == []
    assert len(meta.wire.calls) == 2


# --- files of clients


def ref(content: bytes | None = None, media_id: str = "777") -> str:
    sha256 = None if content is None else base64.b64encode(hashlib.sha256(content).digest()).decode()
    return FileKey(media_id, sha256, "image/jpeg", None).to_ref()


async def fetched(client: GraphClient, reference: str, account: Account) -> bytes:
    async with client.open_media(reference, account) as media:
        return b"".join([chunk async for chunk in media.chunks])


def near(meta: Meta) -> Account:
    """Files lie beside the API, as in the sandbox."""
    return replace(ACCOUNT, api_base=meta.wire.url)


async def test_file_of_a_client_is_fetched_with_the_token(client: GraphClient, meta: Meta) -> None:
    assert await fetched(client, ref(JPEG), near(meta)) == JPEG
    told, bytes_ = meta.wire.calls
    assert told.path == f"/v25.0/777?phone_number_id={NUMBER}"
    assert bytes_.headers["authorization"] == f"Bearer {TOKEN}"
    assert bytes_.headers["user-agent"]


async def test_file_that_is_another_one_is_fetched_again(client: GraphClient, meta: Meta) -> None:
    with pytest.raises(ProviderUnavailable):
        await fetched(client, ref(b"another"), near(meta))


async def test_hash_of_the_api_counts_where_the_webhook_told_none(client: GraphClient, meta: Meta) -> None:
    told = {"url": f"{meta.wire.url}/bytes", "id": "777"}
    meta.script["777"] = [as_json({**told, "sha256": hashlib.sha256(JPEG).hexdigest()})]
    assert await fetched(client, ref(), near(meta)) == JPEG
    meta.script["777"] = [as_json({**told, "sha256": hashlib.sha256(b"x").hexdigest()})]
    with pytest.raises(ProviderUnavailable):
        await fetched(client, ref(), near(meta))


async def test_outdated_address_is_asked_for_once_more(client: GraphClient, meta: Meta) -> None:
    meta.script["bytes"] = [Answer(404)]
    assert await fetched(client, ref(JPEG), near(meta)) == JPEG
    assert len([call for call in meta.wire.calls if "/777" in call.path]) == 2
    meta.script["bytes"] = [Answer(404), Answer(404), Answer(404)]
    with pytest.raises(MessageRejected):
        await fetched(client, ref(JPEG), near(meta))


@pytest.mark.parametrize(
    ("step", "answer", "error"),
    [
        ("777", refusal(100, error_subcode=33), MessageRejected),
        ("777", refusal(190, 401), CredentialsInvalid),
        ("777", refusal(131000, 500), ProviderUnavailable),
        ("777", Answer(does="drop"), ProviderUnavailable),
        ("777", as_json({"id": "777"}), MessageRejected),
        ("777", as_json({"url": "x", "file_size": 200 * 1024 * 1024}), MessageRejected),
        ("bytes", Answer(500), ProviderUnavailable),
        ("bytes", Answer(does="drop"), ProviderUnavailable),
        ("bytes", Answer(200, b"x", {"content-encoding": "gzip"}), MessageRejected),
    ],
)
async def test_file_that_does_not_come(
    client: GraphClient, meta: Meta, step: str, answer: Answer, error: type[Exception]
) -> None:
    meta.script[step] = [answer]
    with pytest.raises(PROVIDER_ERRORS) as caught:
        await fetched(client, ref(JPEG), near(meta))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x", "https://fbsbx.com.evil.example/x", "https://notfbsbx.com/x",
        "http://lookaside.fbsbx.com/x", "https://user@lookaside.fbsbx.com/x", "https://lookaside.fbsbx.com:8443/x",
        "https://127.0.0.1/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "//fbsbx.com/x",
        "https://fbsbx.com@evil.example/x", "", "x" * 10_000,
    ],
)  # fmt: skip
async def test_token_goes_to_meta_alone(client: GraphClient, meta: Meta, url: str) -> None:
    meta.script["777"] = [as_json({"url": url, "id": "777"})]
    with pytest.raises(MessageRejected):
        await fetched(client, ref(JPEG), near(meta))
    assert len(meta.wire.calls) == 1


@pytest.mark.parametrize("odd", ["", "{}", "[]", "777", '{"id":""}', '{"id":"../x"}', '{"id":"a b"}', "\x00"])
async def test_reference_that_is_none_is_gone(client: GraphClient, meta: Meta, odd: str) -> None:
    with pytest.raises(MessageRejected):
        await fetched(client, odd, near(meta))
    assert meta.wire.calls == []
