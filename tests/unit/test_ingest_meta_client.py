"""The calls of the Graph API over a real socket: sending, windows, uploads, signals, people, files."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from meta_graph import (
    BY_LOGIN,
    BY_PAGE,
    IG,
    IGSID,
    JPEG,
    LOGIN_TOKEN,
    NOW,
    PAGE,
    PAGE_ACCOUNT,
    PSID,
    TEXT,
    TOKEN,
    GraphFake,
    Hands,
    asked,
    late,
    refusal,
)

from ingest_meta.bodies import Request
from ingest_meta.client import GraphClient
from ingest_meta.files import File, FileKind
from ingest_meta.payloads import FileKey
from msgkit.connector.contract import Account, Profile
from msgkit.connector.errors import (
    CredentialsInvalid,
    DeliveryUnknown,
    MessageRejected,
    ProviderUnavailable,
    RecipientUnreachable,
    Throttled,
)
from msgkit.connector.graph_api import ANSWER_MAX_BYTES, Ask
from msgkit.connector.pauses import usage_wait_s
from msgkit.contracts.words import FailureCode
from msgkit.runtime.objects import ObjectStore, new_key
from msgkit.testing.wire import Answer, as_json

REACTION = Request(
    PSID, "m.0", {}, action={"sender_action": "react", "payload": {"message_id": "m_1", "reaction": "😊"}}
)
Keep = Callable[..., Awaitable[Request]]


@pytest_asyncio.fixture
async def meta() -> AsyncIterator[GraphFake]:
    meta = GraphFake()
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
async def client(meta: GraphFake, objects: ObjectStore, hands: Hands) -> AsyncIterator[GraphClient]:
    client = GraphClient(
        objects, f"{meta.wire.url}/fb", f"{meta.wire.url}/ig", clock=hands.clock, monotonic=hands
    )
    yield client
    await client.aclose()


@pytest.fixture
def keep(objects: ObjectStore, tmp_path: Path) -> Keep:
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
        }
        return Request(PSID, mark, {}, File(**{**fields, **more}))

    return keep


# --- messages


@pytest.mark.parametrize(
    ("account", "path", "token"),
    [
        (PAGE_ACCOUNT, f"/fb/v25.0/{PAGE}/messages", TOKEN),
        (BY_PAGE, f"/fb/v25.0/{PAGE}/messages", TOKEN),
        (BY_LOGIN, f"/ig/v25.0/{IG}/messages", LOGIN_TOKEN),
    ],
)
async def test_each_flavour_has_its_own_door(
    client: GraphClient, meta: GraphFake, account: Account, path: str, token: str
) -> None:
    assert (await client.send(account, TEXT)).provider_ids == ["m_out1"]
    (call,) = meta.wire.calls
    assert (call.verb, call.path) == ("POST", path)
    assert call.headers["authorization"] == f"Bearer {token}"
    assert token.encode() not in call.body
    assert json.loads(call.body) == {
        "recipient": {"id": PSID},
        "messaging_type": "RESPONSE",
        "message": {"text": "Добрий день", "metadata": "m.0"},
    }
    await client.send(replace(account, api_base=f"{meta.wire.url}/graph-meta/"), TEXT)
    assert meta.wire.calls[1].path == f"/graph-meta{path[3:]}"


async def test_reaction_is_taken_without_an_id(client: GraphClient, meta: GraphFake) -> None:
    assert (await client.send(PAGE_ACCOUNT, REACTION)).provider_ids == []
    (body,) = meta.said("messages")
    assert body == {"recipient": {"id": PSID}, **(REACTION.action or {})}


@pytest.mark.parametrize(
    "answer",
    [
        as_json({"recipient_id": "1"}),
        as_json({"message_id": ""}),
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
    client: GraphClient, meta: GraphFake, answer: Answer
) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises(DeliveryUnknown):
        await client.send(PAGE_ACCOUNT, TEXT)
    assert len(meta.wire.calls) == 1


async def test_silence_is_unknown(client: GraphClient, meta: GraphFake) -> None:
    slow = Ask("POST", f"{PAGE}/messages", "messages", seconds=0.2, delivers=True)
    meta.script["messages"] = [Answer(does="hang")]
    with pytest.raises(DeliveryUnknown):
        await client._graph.call(PAGE_ACCOUNT, slow)


async def test_refused_connection_is_no_delivery(objects: ObjectStore) -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    client = GraphClient(objects, f"http://127.0.0.1:{port}")
    with pytest.raises(ProviderUnavailable):
        await client.send(PAGE_ACCOUNT, TEXT)
    await client.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        refusal(2, status=500),
        refusal(987654, status=503),
        refusal(None, status=500),
        refusal(987654, is_transient=True),
        refusal(1200, status=400),
    ],
)
async def test_what_meta_says_of_its_own_failure_was_not_taken(
    client: GraphClient, meta: GraphFake, answer: Answer
) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises(ProviderUnavailable):
        await client.send(PAGE_ACCOUNT, TEXT)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(190, 463, 401), CredentialsInvalid),
        (refusal(368), CredentialsInvalid),
        (refusal(10), CredentialsInvalid),
        (refusal(551, 1545041), RecipientUnreachable),
        (refusal(10, 2018108), RecipientUnreachable),
        (refusal(100, 2018001), RecipientUnreachable),
        (refusal(10, 2018278), MessageRejected),
        (refusal(100), MessageRejected),
        (refusal(987654), MessageRejected),
        (refusal(613), Throttled),
    ],
)
async def test_refusals_of_a_message(
    client: GraphClient, meta: GraphFake, answer: Answer, error: type[Exception]
) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises((CredentialsInvalid, RecipientUnreachable, MessageRejected, Throttled)) as caught:
        await client.send(PAGE_ACCOUNT, TEXT)
    assert type(caught.value) is error
    assert len(meta.wire.calls) == 1


@pytest.mark.parametrize("token", ["", "with space", "кирилиця", "line\nbreak"])
async def test_token_that_cannot_be_one_makes_no_call(
    client: GraphClient, meta: GraphFake, token: str
) -> None:
    account = replace(PAGE_ACCOUNT, credentials={"page_id": PAGE, "access_token": token})
    with pytest.raises(CredentialsInvalid):
        await client.send(account, TEXT)
    assert meta.wire.calls == []


@pytest.mark.parametrize("page_id", ["me/../1", "1?x=2", "..", "me"])
async def test_ids_that_would_lead_elsewhere_make_no_call(
    client: GraphClient, meta: GraphFake, page_id: str
) -> None:
    account = replace(PAGE_ACCOUNT, credentials={"page_id": page_id, "access_token": TOKEN})
    with pytest.raises(CredentialsInvalid):
        await client.send(account, TEXT)
    assert meta.wire.calls == []


async def test_refusal_is_logged_with_its_trace_and_without_secrets(
    client: GraphClient, meta: GraphFake, capfd: pytest.CaptureFixture[str]
) -> None:
    meta.script["messages"] = [refusal(100, 77, message=f"{TOKEN} Добрий день {PSID}")]
    with pytest.raises(MessageRejected):
        await client.send(PAGE_ACCOUNT, TEXT)
    said = "".join(capfd.readouterr())
    assert "Atrace" in said
    assert "77" in said
    assert not any(secret in said for secret in (TOKEN, "Добрий", PSID))


# --- windows


def wrote(age: timedelta, *, by_person: bool = True, mark: str = "m.0") -> Request:
    return replace(TEXT, client_wrote_at=NOW - age, is_by_person=by_person, mark=mark)


def as_what(meta: GraphFake) -> list[str]:
    return [body.get("tag", body.get("messaging_type", "")) for body in meta.said("messages")]


@pytest.mark.parametrize("account", [PAGE_ACCOUNT, BY_PAGE, BY_LOGIN])
async def test_a_person_answers_late_with_the_tag_and_a_bot_never(
    client: GraphClient, meta: GraphFake, account: Account
) -> None:
    day, minute = timedelta(hours=24), timedelta(minutes=1)
    for request in (wrote(day - minute), wrote(day + minute), wrote(7 * day - minute)):
        await client.send(late(account), request)
    await client.send(late(account), wrote(day + minute, by_person=False))
    await client.send(account, wrote(day + minute))
    assert as_what(meta) == ["RESPONSE", "HUMAN_AGENT", "HUMAN_AGENT", "RESPONSE", "RESPONSE"]


async def test_the_moment_of_the_call_decides(client: GraphClient, meta: GraphFake, hands: Hands) -> None:
    request = wrote(timedelta(hours=23, minutes=59))
    await client.send(late(BY_LOGIN), request)
    hands.now += 120
    await client.send(late(BY_LOGIN), request)
    assert as_what(meta) == ["RESPONSE", "HUMAN_AGENT"]


@pytest.mark.parametrize("subcode", [2018278, 2018065, 2534022])
async def test_a_window_that_has_just_closed_for_meta_is_answered_late_the_next_time(
    client: GraphClient, meta: GraphFake, subcode: int
) -> None:
    request = wrote(timedelta(hours=24) - timedelta(seconds=90))
    meta.script["messages"] = [refusal(10, subcode)]
    with pytest.raises(ProviderUnavailable):
        await client.send(late(BY_PAGE), request)
    await client.send(late(BY_PAGE), request)
    await client.send(late(BY_PAGE), wrote(timedelta(hours=24) - timedelta(seconds=90), mark="m.1"))
    assert as_what(meta) == ["RESPONSE", "HUMAN_AGENT", "RESPONSE"]


@pytest.mark.parametrize(
    ("request_", "account"),
    [
        (wrote(timedelta(hours=23, minutes=57)), late(BY_PAGE)),
        (wrote(timedelta(hours=23, minutes=59), by_person=False), late(BY_PAGE)),
        (wrote(timedelta(hours=23, minutes=59)), BY_PAGE),
        (wrote(timedelta(days=7, minutes=1)), late(BY_PAGE)),
        (replace(TEXT, client_wrote_at=None), late(BY_PAGE)),
    ],
)
async def test_a_closed_window_is_final_for_everything_else(
    client: GraphClient, meta: GraphFake, request_: Request, account: Account
) -> None:
    meta.script["messages"] = [refusal(10, 2534022)]
    with pytest.raises(MessageRejected) as caught:
        await client.send(account, request_)
    assert caught.value.code is FailureCode.WINDOW_CLOSED
    assert not caught.value.is_human_agent_refused


async def test_late_answers_nobody_granted(client: GraphClient, meta: GraphFake) -> None:
    meta.script["messages"] = [refusal(10)]
    with pytest.raises(MessageRejected) as caught:
        await client.send(late(PAGE_ACCOUNT), wrote(timedelta(days=2)))
    assert caught.value.code is FailureCode.WINDOW_CLOSED
    assert caught.value.is_human_agent_refused
    # The account itself is not in doubt.
    meta.known["debug_token"] = {"data": {"is_valid": True}}
    meta.known["subscribed_apps"] = {"data": [{"id": "1"}]}
    assert (await client.check(replace(PAGE_ACCOUNT, state="disconnected"), "")).connected
    meta.script["messages"] = [refusal(10, 2018108), refusal(10)]
    with pytest.raises(RecipientUnreachable):
        await client.send(late(PAGE_ACCOUNT), wrote(timedelta(days=2)))
    with pytest.raises(CredentialsInvalid):
        await client.send(late(PAGE_ACCOUNT), wrote(timedelta(hours=1)))


# --- threads of others


@pytest.mark.parametrize("subcode", [2018300, 2018321])
async def test_thread_of_another_app_is_taken_once(
    client: GraphClient, meta: GraphFake, subcode: int
) -> None:
    meta.script["messages"] = [refusal(10, subcode)]
    assert (await client.send(PAGE_ACCOUNT, TEXT)).provider_ids == ["m_out1"]
    assert meta.said("take_thread_control") == [{"recipient": {"id": PSID}}]
    first, second = meta.said("messages")
    assert first == second
    meta.script["messages"] = [refusal(10, subcode), refusal(10, subcode)]
    with pytest.raises(MessageRejected) as caught:
        await client.send(PAGE_ACCOUNT, TEXT)
    assert "застосунок" in caught.value.text


async def test_bot_takes_no_thread_from_whoever_holds_it(client: GraphClient, meta: GraphFake) -> None:
    meta.script["messages"] = [refusal(10, 2018300)]
    with pytest.raises(MessageRejected) as caught:
        await client.send(PAGE_ACCOUNT, replace(TEXT, is_by_person=False))
    assert "застосунок" in caught.value.text
    assert meta.calls("take_thread_control") == []


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(10), MessageRejected),
        (refusal(100, 33), MessageRejected),
        (refusal(190), CredentialsInvalid),
        (refusal(2), ProviderUnavailable),
        (Answer(does="drop"), ProviderUnavailable),
    ],
)
async def test_thread_that_cannot_be_taken(
    client: GraphClient, meta: GraphFake, answer: Answer, error: type[Exception]
) -> None:
    meta.script |= {"messages": [refusal(10, 2018300)], "take_thread_control": [answer]}
    with pytest.raises((MessageRejected, CredentialsInvalid, ProviderUnavailable)) as caught:
        await client.send(PAGE_ACCOUNT, TEXT)
    assert type(caught.value) is error
    assert len(meta.said("messages")) == 1


async def test_answer_that_is_lost_after_taking_the_thread_is_unknown(
    client: GraphClient, meta: GraphFake
) -> None:
    meta.script["messages"] = [refusal(10, 2018300), Answer(does="drop")]
    with pytest.raises(DeliveryUnknown):
        await client.send(PAGE_ACCOUNT, TEXT)


# --- pauses


async def test_limit_holds_the_account_and_no_other(
    client: GraphClient, meta: GraphFake, hands: Hands
) -> None:
    meta.script["messages"] = [refusal(613)]
    with pytest.raises(Throttled) as first:
        await client.send(PAGE_ACCOUNT, TEXT)
    with pytest.raises(Throttled) as held:
        await client.send(PAGE_ACCOUNT, TEXT)
    assert held.value.retry_after_seconds == first.value.retry_after_seconds
    await client.send(BY_PAGE, TEXT)
    assert len(meta.said("messages")) == 2
    hands.now += first.value.retry_after_seconds
    await client.send(PAGE_ACCOUNT, TEXT)


@pytest.mark.parametrize(
    ("answer", "seconds"),
    [
        (Answer(429, b"<html>", {"retry-after": "17"}), 17.0),
        (Answer(429, b"{}"), 2.0),
        (refusal(4), 120.0),
        (replace(refusal(613), headers={"x-business-use-case-usage": json.dumps(
            {"1": [{"type": "messenger", "estimated_time_to_regain_access": 3}]})}), 180.0),
    ],
)  # fmt: skip
async def test_how_long_it_waits(
    client: GraphClient, meta: GraphFake, answer: Answer, seconds: float
) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises(Throttled) as caught:
        await client.send(PAGE_ACCOUNT, TEXT)
    assert caught.value.retry_after_seconds == seconds


@pytest.mark.parametrize(
    "headers",
    [
        {"x-app-usage": '{"call_count":97,"total_time":1,"total_cputime":1}'},
        {"x-business-use-case-usage": '{"1":[{"type":"instagram","call_count":97}]}'},
    ],
)
async def test_usage_told_with_a_good_answer_holds_the_next_call(
    client: GraphClient, meta: GraphFake, hands: Hands, headers: dict[str, str]
) -> None:
    meta.script["messages"] = [replace(as_json({"message_id": "m_1"}), headers=headers)]
    await client.send(PAGE_ACCOUNT, TEXT)
    with pytest.raises(Throttled):
        await client.send(PAGE_ACCOUNT, TEXT)
    hands.now += 30
    await client.send(PAGE_ACCOUNT, TEXT)


@pytest.mark.parametrize(
    ("of_account", "of_app", "seconds"),
    [
        (None, None, 0), ("x", "[]", 0), ("[]", "x", 0), ('{"1":[null]}', None, 0),
        (None, '{"call_count":94}', 0),
        (None, '{"call_count":"96"}', 30), ('{"1":[{"estimated_time_to_regain_access":"2"}]}', None, 120),
        ('{"1":[{"estimated_time_to_regain_access":1e9}]}', '{"total_time":99}', 86400),
    ],
)  # fmt: skip
def test_what_the_usage_asks_for(of_account: str | None, of_app: str | None, seconds: float) -> None:
    assert usage_wait_s(of_account, of_app) == seconds


# --- files of ours


@pytest.mark.parametrize("account", [PAGE_ACCOUNT, BY_PAGE, BY_LOGIN])
async def test_file_is_uploaded_once_and_sent_by_its_id(
    client: GraphClient, meta: GraphFake, keep: Keep, account: Account
) -> None:
    request = await keep()
    await client.send(account, request)
    await client.send(account, request)
    upload, first, second = meta.wire.calls
    assert upload.path.endswith("/message_attachments")
    platform = {} if account is PAGE_ACCOUNT else {"platform": "instagram"}
    assert {key: value for key, value in upload.fields.items() if key != "message"} == platform
    assert json.loads(upload.fields["message"]) == {
        "attachment": {"type": "image", "payload": {"is_reusable": True}}
    }
    assert upload.files == {"filedata": JPEG}
    assert upload.headers["content-length"] == str(len(upload.body))
    assert 'filename="фото.jpg"\r\nContent-Type: image/jpeg\r\n'.encode() in upload.body
    for call in (first, second):
        assert json.loads(call.body)["message"] == {
            "attachment": {"type": "image", "payload": {"attachment_id": "90001"}},
            "metadata": "m.0",
        }
    await client.send(replace(account, channel_id="f" * 32), request)
    assert meta.uploads == 2


async def test_id_of_an_upload_is_forgotten_before_meta_forgets_it(
    client: GraphClient, meta: GraphFake, keep: Keep, hands: Hands
) -> None:
    request = await keep()
    await client.send(PAGE_ACCOUNT, request)
    hands.now += 79.9 * 86400
    await client.send(PAGE_ACCOUNT, request)
    assert meta.uploads == 1
    hands.now += 0.2 * 86400
    await client.send(PAGE_ACCOUNT, request)
    assert meta.uploads == 2


async def test_id_that_is_gone_is_uploaded_again_and_then_final(
    client: GraphClient, meta: GraphFake, keep: Keep
) -> None:
    request = await keep()
    await client.send(PAGE_ACCOUNT, request)
    meta.script["messages"] = [refusal(100, 2018074), refusal(100, 2018047), refusal(100, 2018047)]
    for _ in range(2):
        with pytest.raises(ProviderUnavailable):
            await client.send(PAGE_ACCOUNT, request)
    with pytest.raises(MessageRejected) as caught:
        await client.send(PAGE_ACCOUNT, request)
    assert caught.value.code is FailureCode.UNSUPPORTED_KIND
    assert meta.uploads == 3


@pytest.mark.parametrize(
    ("answer", "error", "code"),
    [
        (refusal(100, 2018109), MessageRejected, FailureCode.FILE_TOO_BIG),
        (refusal(100, 2018047), MessageRejected, FailureCode.UNSUPPORTED_KIND),
        (refusal(100), MessageRejected, FailureCode.UNSUPPORTED_KIND),
        (refusal(100, is_transient=True), ProviderUnavailable, None),
        (refusal(100, 33), CredentialsInvalid, None),
        (refusal(190), CredentialsInvalid, None),
        (refusal(4), Throttled, None),
        (Answer(does="drop"), ProviderUnavailable, None),
        (as_json({"no": "id"}), ProviderUnavailable, None),
    ],
)
async def test_upload_that_is_refused_has_delivered_nothing(
    client: GraphClient,
    meta: GraphFake,
    keep: Keep,
    answer: Answer,
    error: type[Exception],
    code: FailureCode | None,
) -> None:
    meta.script["message_attachments"] = [answer]
    with pytest.raises((MessageRejected, ProviderUnavailable, CredentialsInvalid, Throttled)) as caught:
        await client.send(PAGE_ACCOUNT, await keep())
    assert type(caught.value) is error
    assert getattr(caught.value, "code", None) is code
    assert meta.said("messages") == []


async def test_file_that_left_the_store_is_final(client: GraphClient, meta: GraphFake, keep: Keep) -> None:
    request = await keep()
    assert request.file is not None
    with pytest.raises(MessageRejected):
        await client.send(PAGE_ACCOUNT, replace(request, file=replace(request.file, key=new_key())))
    assert meta.wire.calls == []


# --- signals


async def test_signals(client: GraphClient, meta: GraphFake) -> None:
    await client.mark_read(PSID, "m_in1", PAGE_ACCOUNT)
    await client.show_typing(IGSID, "aWd1", BY_LOGIN)
    assert meta.said("messages") == [
        {"recipient": {"id": PSID}, "sender_action": "mark_seen"},
        {"recipient": {"id": IGSID}, "sender_action": "typing_on"},
    ]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(does="drop"), ProviderUnavailable),
        (refusal(10), MessageRejected),
        (refusal(10, 2018278), MessageRejected),
        (refusal(190), CredentialsInvalid),
    ],
)
async def test_signal_that_is_refused_does_not_stop_the_account(
    client: GraphClient, meta: GraphFake, answer: Answer, error: type[Exception]
) -> None:
    meta.script["messages"] = [answer]
    with pytest.raises((ProviderUnavailable, MessageRejected, CredentialsInvalid)) as caught:
        await client.mark_read(PSID, "m_in1", PAGE_ACCOUNT)
    assert type(caught.value) is error


# --- people


@pytest.mark.parametrize(
    ("account", "contact", "told", "profile"),
    [
        (PAGE_ACCOUNT, PSID, {"first_name": "Олена", "last_name": "Коваль"}, Profile("Олена Коваль", None)),
        (PAGE_ACCOUNT, PSID, {"name": " Олена \n Коваль "}, Profile("Олена Коваль", None)),
        (BY_PAGE, IGSID, {"name": "Олена", "username": "olena.k"}, Profile("Олена", "olena.k")),
        (BY_LOGIN, IGSID, {"name": "", "username": "@olena.k"}, Profile(None, "olena.k")),
        (PAGE_ACCOUNT, PSID, {}, None),
        (BY_LOGIN, IGSID, {"id": IGSID, "name": 5}, None),
    ],
)  # fmt: skip
async def test_who_a_client_is(
    client: GraphClient,
    meta: GraphFake,
    account: Account,
    contact: str,
    told: dict[str, Any],
    profile: Profile | None,
) -> None:
    meta.known[contact] = told
    assert await client.profile(contact, account) == profile
    (call,) = meta.wire.calls
    fields = "first_name,last_name,name" if account is PAGE_ACCOUNT else "name,username"
    assert asked(call) == {"fields": fields}


@pytest.mark.parametrize(
    "answer",
    [
        refusal(230, status=403), refusal(9010), refusal(100, 2018218), refusal(2018218), refusal(100, 33),
        refusal(100, 2018001), refusal(10), refusal(200), refusal(3), refusal(987654),
    ],
)  # fmt: skip
async def test_profile_that_is_not_told_is_no_fault(
    client: GraphClient, meta: GraphFake, answer: Answer
) -> None:
    meta.script[PSID] = [answer]
    assert await client.profile(PSID, PAGE_ACCOUNT) is None


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(190), CredentialsInvalid), (refusal(4), Throttled), (refusal(2), ProviderUnavailable),
        (Answer(does="drop"), ProviderUnavailable), (refusal(987654, status=500), ProviderUnavailable),
    ],
)  # fmt: skip
async def test_profile_that_is_not_told_now(
    client: GraphClient, meta: GraphFake, answer: Answer, error: type[Exception]
) -> None:
    meta.script[PSID] = [answer]
    with pytest.raises(error):
        await client.profile(PSID, PAGE_ACCOUNT)
    await client.send(PAGE_ACCOUNT, TEXT)


@pytest.mark.parametrize("key", ["..", ".", "", "../1/messages", "1?x=1#2"])
async def test_contact_that_is_none_leads_nowhere(client: GraphClient, meta: GraphFake, key: str) -> None:
    try:
        await client.profile(key, PAGE_ACCOUNT)
    except MessageRejected:
        assert meta.wire.calls == []
        return
    (call,) = meta.wire.calls
    assert call.path.partition("?")[0].count("/") == 3


# --- files of clients


async def fetched(client: GraphClient, ref: str, account: Account) -> tuple[bytes, str | None]:
    async with client.open_media(ref, account) as media:
        return b"".join([chunk async for chunk in media.chunks]), media.name


def near(meta: GraphFake) -> Account:
    """Files lie beside the API, as in the sandbox."""
    return replace(PAGE_ACCOUNT, api_base=f"{meta.wire.url}/graph-meta")


async def test_file_of_a_client_is_fetched_without_a_token(client: GraphClient, meta: GraphFake) -> None:
    url = f"{meta.wire.url}/v/photo.jpg?oh=1"
    assert await fetched(client, FileKey(url, "image").to_ref(), near(meta)) == (JPEG, None)
    assert await fetched(client, FileKey(url, "file").to_ref(), near(meta)) == (JPEG, "photo.jpg")
    assert all("authorization" not in call.headers for call in meta.wire.calls)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (Answer(403), MessageRejected), (Answer(404), MessageRejected), (Answer(410), MessageRejected),
        (Answer(500), ProviderUnavailable), (Answer(429), ProviderUnavailable),
        (Answer(does="drop"), ProviderUnavailable),
        (Answer(200, b"x", {"content-encoding": "gzip"}), MessageRejected),
        (Answer(302, b"", {"location": "http://127.0.0.1:1/x"}), MessageRejected),
    ],
)  # fmt: skip
async def test_file_that_does_not_come(
    client: GraphClient, meta: GraphFake, answer: Answer, error: type[Exception]
) -> None:
    meta.script["photo.jpg"] = [answer]
    with pytest.raises((MessageRejected, ProviderUnavailable)) as caught:
        await fetched(client, FileKey(f"{meta.wire.url}/photo.jpg", "image").to_ref(), near(meta))
    assert type(caught.value) is error


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/x", "https://fbcdn.net.evil.example/x", "https://notfbsbx.com/x",
        "http://scontent.xx.fbcdn.net/x", "https://user@cdn.fbsbx.com/x", "https://cdn.fbsbx.com:8443/x",
        "http://cdn.fbsbx.com:443/x",
        "https://127.0.0.1/x", "http://127.0.0.1:1/x", "file:///etc/passwd", "//fbsbx.com/x", "/reel/123/",
        "https://scontent.cdninstagram.com@evil.example/x", "", "x" * 10_000,
    ],
)  # fmt: skip
async def test_nothing_is_fetched_from_anywhere_else(client: GraphClient, meta: GraphFake, url: str) -> None:
    with pytest.raises(MessageRejected) as caught:
        await fetched(client, FileKey(url, "image").to_ref(), near(meta))
    assert "недоступний" in caught.value.text
    assert meta.wire.calls == []


@pytest.mark.parametrize("odd", ["", "{}", "[]", "777", '{"url":""}', "\x00"])
async def test_reference_that_is_none_is_gone(client: GraphClient, meta: GraphFake, odd: str) -> None:
    with pytest.raises(MessageRejected):
        await fetched(client, odd, near(meta))
    assert meta.wire.calls == []
