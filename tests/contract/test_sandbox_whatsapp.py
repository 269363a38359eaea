"""WhatsApp in the sandbox: callbacks, what clients do, statuses, identities, against the fact sheet."""

import json
from itertools import pairwise
from pathlib import Path

import pytest
from aiohttp import web
from viber_playground import eventually, shape
from whatsapp_playground import (
    CHANNEL,
    COEX,
    COEX_PATH,
    COEX_TOKEN,
    NUMBER,
    PATH,
    SECRET,
    TOKEN,
    VERIFY,
    WABA,
    Json,
    Stage,
    signed,
    whatsapp_settings,
    whatsapp_stage,
)

from sandbox.settings import Settings

METADATA: Json = {"display_phone_number": "15550783881", "phone_number_id": "106540352242922"}
CONTACT: Json = {"profile": {"name": "x"}, "wa_id": "1650", "user_id": "US.134"}
HEAD: Json = {"from": "1650", "from_user_id": "US.134", "id": "wamid.x", "timestamp": "1767226300"}
REASON: Json = {"code": 131051, "title": "x", "message": "x", "error_data": {"details": "x"}, "href": "x"}
FILE: Json = {"mime_type": "x", "sha256": "x", "id": "1", "url": "https://x"}


def _envelope(value: Json, field: str = "messages") -> Json:
    change = {"field": field, "value": {"messaging_product": "whatsapp", "metadata": METADATA, **value}}
    return {"object": "whatsapp_business_account", "entry": [{"id": "1022", "changes": [change]}]}


def _message(kind: str, content: object, **rest: object) -> Json:
    return {**HEAD, "type": kind, kind: content, **rest}


# --- callbacks


async def test_without_numbers_nothing_of_whatsapp_is_there() -> None:
    async with whatsapp_stage(Settings(host="127.0.0.1", public_port=0, sandbox_bots=())) as stage:
        async with stage.http.get(f"{stage.url}/graph/v25.0/{NUMBER}") as answer:
            assert answer.status == 404
        assert await stage.control("channels") == []


async def test_an_override_is_taken_after_the_handshake(unsubscribed: Stage) -> None:
    assert await unsubscribed.control("channels") == []
    await unsubscribed.connect()
    (first, _) = unsubscribed.edge.handshakes
    assert first["hub.mode"] == "subscribe"
    assert first["hub.verify_token"] == VERIFY
    assert first["hub.challenge"].isdigit()
    channels = await unsubscribed.control("channels")
    assert [(c["channel_id"], c["kind"]) for c in channels] == [
        (CHANNEL, "whatsapp"),
        ("ch_coex", "whatsapp"),
    ]
    listed = (await unsubscribed.good(f"{WABA}/subscribed_apps"))["data"]
    assert listed[0]["override_callback_uri"] == f"{unsubscribed.edge.url}{PATH}"
    assert set(listed[0]["whatsapp_business_api_data"]) == {"id", "name", "link"}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"verify_token": "wrong"}, "HTTP Status Code = 403"),
        ({"verify_token": VERIFY, "override_callback_uri": "http://127.0.0.1:9/x"}, "Failed to connect"),
    ],
    ids=["wrong token", "nobody there"],
)
async def test_an_address_that_fails_the_handshake_is_refused(
    unsubscribed: Stage, body: Json, words: str
) -> None:
    asked = {"override_callback_uri": f"{unsubscribed.edge.url}{PATH}", **body}
    status, answer = await unsubscribed.graph(f"{WABA}/subscribed_apps", asked)
    assert (status, answer["error"]["code"]) == (400, 2200)
    assert words in answer["error"]["message"]
    assert await unsubscribed.cannot("olena", "messages", NUMBER, text="Є хто?") == "webhook_not_set"


async def test_the_apps_callback_serves_every_subscribed_number(unsubscribed: Stage) -> None:
    url = f"{unsubscribed.edge.url}/webhooks/whatsapp"
    asked = {"callback_url": url, "channel_id": "ch_named"}
    assert (await unsubscribed.control(f"whatsapp/{NUMBER}", asked, "PUT"))["callback"] is None
    assert await unsubscribed.cannot("olena", "messages", NUMBER, text="Є хто?") == "webhook_not_set"
    await unsubscribed.good(f"{WABA}/subscribed_apps", {})
    await unsubscribed.act("olena", "messages", "ch_named", text="Добрий день")
    await unsubscribed.edge.until(unsubscribed.edge.messages)
    assert unsubscribed.edge.paths == ["/webhooks/whatsapp"]
    own = {"webhook_configuration": {"override_callback_uri": f"{unsubscribed.edge.url}{PATH}",
                                     "verify_token": VERIFY}}  # fmt: skip
    await unsubscribed.good(NUMBER, own)
    await unsubscribed.act("olena", "messages", CHANNEL, text="Ви тут?")
    await unsubscribed.edge.until(unsubscribed.edge.messages, 2)
    assert unsubscribed.edge.paths[-1] == PATH
    await unsubscribed.good(f"{WABA}/subscribed_apps", method="DELETE")
    assert await unsubscribed.cannot("olena", "messages", NUMBER, text="Є хто?") == "webhook_not_set"


async def test_callbacks_and_subscriptions_outlive_the_process(tmp_path: Path) -> None:
    state = tmp_path / "sandbox.json"
    async with whatsapp_stage(whatsapp_settings(state)) as stage:
        await stage.connect()
        await stage.control(f"whatsapp/{NUMBER}", {"channel_id": "ch_named"}, "PUT")
    async with whatsapp_stage(whatsapp_settings(state)) as stage:
        assert [c["channel_id"] for c in await stage.control("channels")] == [CHANNEL, "ch_coex"]
        assert (await stage.control(f"{CHANNEL}/webhook"))["url"].endswith(PATH)
    assert state.with_suffix(".whatsapp.json").stat().st_mode & 0o777 == 0o600


async def test_what_is_signed_is_metas_escaped_form(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "messages", text="Ціна: https://a.ua/äöå 🙂")
    await whatsapp.edge.until(whatsapp.edge.messages)
    (raw,), (header,) = whatsapp.edge.raw, whatsapp.edge.signatures
    assert header == signed(raw)
    assert raw.isascii()
    assert b"https:\\/\\/a.ua\\/\\u00e4\\u00f6\\u00e5 \\ud83d\\ude42" in raw
    assert (await whatsapp.control(f"{CHANNEL}/webhook"))["app_secret"] == SECRET
    for again in (json.dumps(json.loads(raw)), json.dumps(json.loads(raw), ensure_ascii=False)):
        assert signed(again.encode()) != header


# --- what clients write


async def test_a_text_has_the_shape_of_the_sample(whatsapp: Stage) -> None:
    receipt = await whatsapp.act("olena", "messages", text="Добрий день")
    await whatsapp.edge.until(whatsapp.edge.messages)
    sample = _envelope({"contacts": [CONTACT], "messages": [_message("text", {"body": "x"})]})
    assert shape(whatsapp.edge.got[0]) == shape(sample)
    (message,) = whatsapp.edge.messages()
    assert message["id"] == receipt["provider_id"]
    assert message["id"].startswith("wamid.HBg")
    phone = await whatsapp.phone("olena")
    assert message["from"] == phone["phone_number"]
    assert message["from_user_id"] == phone["user_id"]
    assert phone["user_id"].startswith("UA.")

    async def taken() -> bool:
        return bool((await whatsapp.shows())[0]["state"] == "delivered")

    await eventually(taken)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ({"kind": "photo", "caption": "чек"}, _message("image", {"caption": "чек", **FILE})),
        ({"kind": "video"}, _message("video", FILE)),
        ({"kind": "voice"}, _message("audio", {**FILE, "voice": True})),
        ({"kind": "audio"}, _message("audio", {**FILE, "voice": False})),
        ({"kind": "document", "file": "чек.pdf"}, _message("document", {**FILE, "filename": "чек.pdf"})),
        ({"kind": "sticker"}, _message("sticker", {**FILE, "animated": False})),
        (
            {"latitude": 50.4, "longitude": 30.5, "place_name": "HQ", "address": "Хрещатик, 1"},
            _message("location", {"latitude": 50.4, "longitude": 30.5, "name": "HQ", "address": "x"}),
        ),
        (
            {"phone_number": "380671234567", "contact_name": "Рахіль Грін"},
            _message(
                "contacts",
                [
                    {
                        "vcard": "x",
                        "name": {"formatted_name": "x", "first_name": "x", "last_name": "x"},
                        "phones": [{"phone": "x", "wa_id": "x", "type": "x"}],
                    }
                ],
            ),
        ),
        (
            {"unsupported": "poll"},
            {
                **HEAD,
                "type": "unsupported",
                "unsupported": {"type": "poll"},
                "errors": [REASON],
            },
        ),
        ({"text": "x", "forwarded": True}, _message("text", {"body": "x"}, context={"forwarded": True})),
        ({"text": "x", "extra": {"group_id": "Y2"}}, _message("text", {"body": "x"}, group_id="Y2")),
    ],
    ids=["photo", "video", "voice", "audio", "document", "sticker", "location", "contacts", "unsupported",
         "forwarded", "group"],
)  # fmt: skip
async def test_everything_a_client_can_send_has_the_sheets_shape(
    whatsapp: Stage, written: Json, expected: Json
) -> None:
    message = await whatsapp.writes(**written)
    assert shape(message) == shape(expected)
    assert message["type"] == expected["type"]


async def test_several_files_are_several_messages(whatsapp: Stage) -> None:
    album = [{"kind": "photo"}, {"kind": "document", "file": "a.pdf"}]
    receipt = await whatsapp.act("olena", "messages", album=album, caption="документи")
    first, second = await whatsapp.edge.until(whatsapp.edge.messages, 2)
    assert [first["id"], second["id"]] == receipt["provider_ids"]
    assert (first["image"]["caption"], "caption" in second["document"]) == ("документи", False)


async def test_a_reply_names_whose_message_it_quotes(whatsapp: Stage) -> None:
    await whatsapp.writes()
    ours = await whatsapp.sent()
    answer = await whatsapp.writes(text="Так", reply_to=ours)
    assert answer["context"] == {"from": "380445550783", "id": ours}
    own = await whatsapp.writes(text="ще раз", reply_to=answer["id"])
    assert own["context"] == {"id": answer["id"]}


async def test_a_reaction_comes_and_goes_in_two_ways(whatsapp: Stage) -> None:
    await whatsapp.writes()
    ours = await whatsapp.sent()
    for given, expected in (
        ({"emoji": "👍"}, {"message_id": ours, "emoji": "👍"}),
        ({"emoji": ""}, {"message_id": ours, "emoji": ""}),
        ({}, {"message_id": ours}),
    ):
        before = len(whatsapp.edge.messages())
        await whatsapp.act("olena", "react", **given)
        got = await whatsapp.edge.until(whatsapp.edge.messages, before + 1)
        assert got[-1]["reaction"] == expected


# --- who it is


@pytest.mark.parametrize(
    ("variant", "contact", "sender"),
    [
        ("phone_and_user_id", {"wa_id", "user_id"}, {"from", "from_user_id"}),
        ("user_id_only", {"user_id"}, {"from_user_id"}),
        ("user_id_in_from", {"wa_id"}, {"from"}),
        ("empty_wa_id", {"wa_id", "user_id"}, {"from", "from_user_id"}),
        ("phone_only", {"wa_id"}, {"from"}),
    ],
)
async def test_the_five_identity_variants(
    whatsapp: Stage, variant: str, contact: set[str], sender: set[str]
) -> None:
    who = await whatsapp.act("olena", "identity", variant=variant, username="olena_demo")
    message = await whatsapp.writes()
    told = whatsapp.edge.values()[0]["contacts"][0]
    assert told["profile"] == {"name": "Олена", "username": "@olena_demo"}
    assert set(told) == {"profile", *contact}
    assert {key for key in message if key.startswith("from")} == sender
    if variant == "user_id_in_from":
        assert message["from"] == told["wa_id"] == who["user_id"]
    if variant == "empty_wa_id":
        assert message["from"] == told["wa_id"] == ""


async def test_parent_ids_come_beside_the_user_id(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "identity", parent=True)
    message = await whatsapp.writes()
    assert message["from_parent_user_id"].startswith("UA.ENT.")
    assert whatsapp.edge.values()[0]["contacts"][0]["parent_user_id"] == message["from_parent_user_id"]


async def test_a_change_of_number_is_a_system_message_without_contacts(whatsapp: Stage) -> None:
    first = await whatsapp.writes()
    moved = await whatsapp.act("olena", "change-number", phone_number="380501112233")
    system = (await whatsapp.edge.until(whatsapp.edge.messages, 2))[-1]
    assert "contacts" not in whatsapp.edge.values()[-1]
    assert system["from"] == first["from"]
    assert system["system"] == {
        "body": system["system"]["body"],
        "wa_id": "380501112233",
        "user_id": moved["user_id"],
        "previous_user_id": first["from_user_id"],
        "type": "user_changed_number",
    }
    after = await whatsapp.writes(text="Це мій новий номер")
    assert (after["from"], after["from_user_id"]) == ("380501112233", moved["user_id"])
    assert moved["user_id"] != first["from_user_id"]


async def test_without_a_phone_only_the_user_id_changes(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "identity", variant="user_id_only")
    first = await whatsapp.writes()
    await whatsapp.act("olena", "change-number")
    system = (await whatsapp.edge.until(whatsapp.edge.messages, 2))[-1]
    assert "from" not in system
    assert system["from_user_id"] == system["system"]["user_id"]
    assert system["system"]["previous_user_id"] == first["from_user_id"]
    assert system["system"]["type"] == "user_changed_user_id"


# --- statuses


async def test_a_message_is_sent_delivered_and_read(whatsapp: Stage) -> None:
    await whatsapp.writes()
    message_id = await whatsapp.sent(biz_opaque_callback_data="65f0c1")
    await whatsapp.edge.until_statuses("sent", "delivered")
    await whatsapp.act("olena", "read")
    sent, delivered, read = await whatsapp.edge.until_statuses("sent", "delivered", "read")
    assert {one["id"] for one in (sent, delivered, read)} == {message_id}
    base: Json = {
        "id": "x", "status": "sent", "timestamp": "1", "recipient_id": "1", "recipient_user_id": "US.1",
        "biz_opaque_callback_data": "x",
    }  # fmt: skip
    price = {"billable": False, "pricing_model": "PMP", "type": "x", "category": "x"}
    assert shape(sent) == shape({**base, "pricing": price})
    assert shape(delivered) == shape({**base, "pricing": price})
    assert shape(read) == shape(base)
    assert shape(whatsapp.edge.values()[1]["contacts"]) == shape([CONTACT])
    assert [one["state"] for one in await whatsapp.shows()][-1] == "read"


async def test_a_voice_note_is_played(whatsapp: Stage) -> None:
    await whatsapp.writes()
    assert await whatsapp.cannot("olena", "play") == "nothing_to_play"
    media = await whatsapp.upload("a.ogg", b"OggS" + bytes(60), "audio/ogg")
    await whatsapp.sent(type="audio", audio={"id": media, "voice": True})
    await whatsapp.act("olena", "play")
    await whatsapp.edge.until_statuses("sent", "delivered", "played")


async def test_a_phone_that_is_off_gets_its_messages_later(whatsapp: Stage) -> None:
    await whatsapp.writes()
    await whatsapp.act("olena", "offline")
    await whatsapp.sent()
    await whatsapp.edge.until_statuses("sent")
    assert len(await whatsapp.shows()) == 1
    await whatsapp.act("olena", "online")
    await whatsapp.edge.until_statuses("sent", "delivered")
    assert len(await whatsapp.shows()) == 2


async def test_a_status_names_no_phone_to_whom_only_the_user_id_is_known(whatsapp: Stage) -> None:
    who = await whatsapp.act("olena", "identity", variant="user_id_only")
    await whatsapp.writes()
    status, answer = await whatsapp.send(recipient=who["user_id"])
    assert (status, answer["contacts"]) == (200, [{"input": who["user_id"], "user_id": who["user_id"]}])
    sent, _ = await whatsapp.edge.until_statuses("sent", "delivered")
    assert "recipient_id" not in sent
    assert sent["recipient_user_id"] == who["user_id"]


# --- coexistence


async def test_edits_and_deletions_of_a_number_in_coexistence(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "messages", "ch_coex", text="Привіт")
    (first,) = await whatsapp.edge.until(whatsapp.edge.messages)
    await whatsapp.act("olena", "edit", "ch_coex", text="Добрий день")
    edit = (await whatsapp.edge.until(whatsapp.edge.messages, 2))[-1]
    assert edit["edit"] == {
        "original_message_id": first["id"],
        "message": {"type": "text", "text": {"body": "Добрий день"}},
    }
    assert edit["id"] != first["id"]
    await whatsapp.act("olena", "delete", "ch_coex")
    revoke = (await whatsapp.edge.until(whatsapp.edge.messages, 3))[-1]
    assert revoke["revoke"] == {"original_message_id": first["id"]}
    assert await whatsapp.shows(channel="ch_coex") == []


async def test_a_plain_number_hears_of_edits_as_unsupported_and_of_deletions_nothing(whatsapp: Stage) -> None:
    await whatsapp.writes()
    await whatsapp.act("olena", "edit", text="Доброго дня")
    edit = (await whatsapp.edge.until(whatsapp.edge.messages, 2))[-1]
    assert (edit["type"], edit["unsupported"]) == ("unsupported", {"type": "edit"})
    assert edit["errors"][0]["code"] == 131051
    assert (await whatsapp.act("olena", "delete"))["update_id"] is None
    assert await whatsapp.cannot("olena", "delete") == "message_not_found"


async def test_the_owner_writes_in_the_business_app(whatsapp: Stage) -> None:
    assert await whatsapp.cannot("olena", "echo") == "no_business_app"
    echo = await whatsapp.act("olena", "echo", "ch_coex", text="Чекаємо в четвер")
    await whatsapp.act("olena", "echo", "ch_coex", revoke=echo["provider_id"])

    def echoes() -> list[Json]:
        return [e for value in whatsapp.edge.values("smb_message_echoes") for e in value["message_echoes"]]

    said, taken_back = await whatsapp.edge.until(echoes, 2)
    sample: Json = {"from": "1", "to": "1", "to_user_id": "1", "id": "x", "timestamp": "1", "type": "text",
                    "text": {"body": "x"}}  # fmt: skip
    assert shape(said) == shape(sample)
    assert (said["id"], said["from"]) == (echo["provider_id"], "380445550784")
    assert taken_back["revoke"] == {"original_message_id": said["id"]}
    assert whatsapp.edge.paths[0] == COEX_PATH


async def test_history_comes_in_chunks_out_of_order_and_files_after_it(whatsapp: Stage) -> None:
    told = await whatsapp.act("olena", "history", "ch_coex", count=20, days=120, chunk=5, files=2)
    values = await whatsapp.edge.until(lambda: whatsapp.edge.values("history"), told["sent"])
    chunks = [chunk for value in values for chunk in value.get("history", [])]
    orders = [chunk["metadata"]["chunk_order"] for chunk in chunks]
    assert sorted(orders) == list(range(1, len(chunks) + 1))
    assert orders != sorted(orders)
    assert {chunk["metadata"]["phase"] for chunk in chunks} >= {1, 2}
    assert max(chunk["metadata"]["progress"] for chunk in chunks) == 100
    past = [m for chunk in chunks for thread in chunk["threads"] for m in thread["messages"]]
    assert len(past) == 20
    mine = next(m for m in past if "to" in m)
    assert shape(mine) == shape({"from": "1", "to": "1", "id": "x", "timestamp": "1", "type": "text",
                                 "text": {"body": "x"}, "history_context": {"status": "READ"}})  # fmt: skip
    files = [m for value in values for m in value.get("messages", [])]
    placeholders = {m["id"] for m in past if m["type"] == "media_placeholder"}
    assert {m["id"] for m in files} <= placeholders
    assert all(m["type"] == "image" for m in files)

    await whatsapp.act("olena", "history", "ch_coex", declined=True)
    declined = (await whatsapp.edge.until(lambda: whatsapp.edge.values("history"), told["sent"] + 1))[-1]
    assert declined["history"][0]["errors"][0]["code"] == 2593109


async def test_the_apps_data_is_asked_for_once(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "history", "ch_coex", count=3, later=True)
    asked: Json = {"messaging_product": "whatsapp", "sync_type": "smb_app_state_sync"}
    await whatsapp.good(f"{COEX}/smb_app_data", asked, token=COEX_TOKEN)
    (value,) = await whatsapp.edge.until(lambda: whatsapp.edge.values("smb_app_state_sync"))
    assert value["state_sync"][0]["contact"]["full_name"] == "Олена"
    status, answer = await whatsapp.graph(f"{COEX}/smb_app_data", asked, token=COEX_TOKEN)
    assert (status, answer["error"]["code"]) == (400, 2593107)
    await whatsapp.good(f"{COEX}/smb_app_data", {**asked, "sync_type": "history"}, token=COEX_TOKEN)
    await whatsapp.edge.until(lambda: whatsapp.edge.values("history"))


# --- anything else, and repeats


async def test_a_webhook_of_any_shape_is_signed_too(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "raw", payload={"field": "messages", "value": {}})
    await whatsapp.act("olena", "raw", field="account_update", value={"event": "PARTNER_REMOVED"})
    await whatsapp.act("olena", "raw", message={"type": "hologram", "hologram": {"a": 1}})
    flat, account, message = await whatsapp.edge.until(lambda: whatsapp.edge.got, 3)
    assert flat == {"field": "messages", "value": {}}
    assert account["entry"][0]["changes"][0]["value"] == {"event": "PARTNER_REMOVED"}
    assert message["entry"][0]["changes"][0]["value"]["messages"][0]["type"] == "hologram"
    assert whatsapp.edge.signatures == [signed(raw) for raw in whatsapp.edge.raw]


async def test_messages_of_a_thread_that_metas_agent_holds_are_in_standby(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "messages", text="Добрий день", standby=True)
    (value,) = await whatsapp.edge.until(lambda: whatsapp.edge.values("standby"))
    assert value["messages"][0]["text"] == {"body": "Добрий день"}


async def test_a_webhook_is_repeated_until_200_with_the_same_bytes(whatsapp: Stage) -> None:
    await whatsapp.pace(1000)
    answers = iter([500, 204, 200])

    async def late(_: Json) -> web.Response:
        return web.Response(status=next(answers, 200))

    whatsapp.edge.answer = late
    await whatsapp.act("olena", "messages", text="раз")
    await whatsapp.act("olena", "messages", text="два")
    said = await whatsapp.edge.until(whatsapp.edge.messages, 4)
    assert [m["text"]["body"] for m in said] == ["раз"] * 3 + ["два"]
    assert whatsapp.edge.raw[0] == whatsapp.edge.raw[2]


async def test_repeats_grow_rarer_and_end_after_seven_days(whatsapp: Stage) -> None:
    await whatsapp.pace(200_000)  # seven days are three seconds

    async def refuse(_: Json) -> web.Response:
        return web.Response(status=503)

    whatsapp.edge.answer = refuse
    await whatsapp.act("olena", "messages", text="раз")
    await whatsapp.until_ledger(type="webhook_dropped")
    tries = await whatsapp.ledger(type="webhook", kind="message")
    gaps = [later["at"] - sooner["at"] for sooner, later in pairwise(tries)]
    assert 15 <= len(tries) <= 40
    assert max(gaps[:5]) < max(gaps[-5:])


async def test_a_burst_is_written_at_its_rate_and_counted(whatsapp: Stage) -> None:
    order: Json = {"clients": 5, "messages_per_client": 8, "rate_per_s": 400}
    burst = (await whatsapp.control(f"{CHANNEL}/burst", order))["id"]
    said = await whatsapp.edge.until(whatsapp.edge.messages, 40)
    progress = await whatsapp.control(f"burst/{burst}")
    assert (progress["written"], progress["refused"]) == (40, 0)
    by_client: dict[str, list[int]] = {}
    for message in said:
        _, client, n = message["text"]["body"].split()
        by_client.setdefault(client, []).append(int(n))
    assert by_client == {f"c{n}": list(range(1, 9)) for n in range(5)}


async def test_what_whatsapp_does_not_tell_is_refused_with_the_reason(whatsapp: Stage) -> None:
    for action in ("type", "open", "subscribe"):
        assert await whatsapp.cannot("olena", action) == "not_visible_to_bots"
    status, answer = await whatsapp.try_control(f"{CHANNEL}/clients/olena/dance", {})
    assert (status, answer["code"]) == (404, "unknown_action")


async def test_reset_empties_the_phones_and_keeps_the_callback(whatsapp: Stage) -> None:
    await whatsapp.writes()
    await whatsapp.control("reset", {})
    assert await whatsapp.shows() == []
    assert (await whatsapp.control(f"{CHANNEL}/webhook"))["url"] == f"{whatsapp.edge.url}{PATH}"
    token = (await whatsapp.control(f"{CHANNEL}/revoke-token", {}))["token"]
    assert (await whatsapp.graph(NUMBER, token=TOKEN))[0] == 401
    assert (await whatsapp.graph(NUMBER, token=token))[0] == 200
