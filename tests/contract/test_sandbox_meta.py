"""Messenger and Instagram in the sandbox: callbacks, what clients do, webhooks; against the fact sheet, 1."""

import hashlib
import hmac
import json
from pathlib import Path

import pytest
from meta_playground import (
    APP_ID,
    CHANNELS,
    IG,
    LOGIN_IG,
    LOGIN_SECRET,
    PAGE,
    PAGE_FIELDS,
    SECRET,
    VERIFY,
    Json,
    Stage,
    meta_settings,
    meta_stage,
)
from viber_playground import eventually, shape

from sandbox.settings import Settings

ALL = (PAGE, IG, LOGIN_IG)
X = "x"
HEAD: Json = {"sender": {"id": X}, "recipient": {"id": X}, "timestamp": 1}
STORY: Json = {"story": {"id": X, "url": X}}


def _message(**rest: object) -> Json:
    return {**HEAD, "message": {"mid": X, **rest}}


def _attached(kind: str, payload: object) -> Json:
    return _message(attachments=[{"type": kind, "payload": payload}])


# --- callbacks and signatures


async def test_without_accounts_nothing_of_meta_is_there() -> None:
    async with meta_stage(Settings(host="127.0.0.1", public_port=0, sandbox_bots=())) as stage:
        async with stage.http.get(f"{stage.url}/graph-meta/v25.0/me") as answer:
            assert answer.status == 404
        assert await stage.control("channels") == []


async def test_a_callback_is_taken_after_the_handshake_and_serves_when_subscribed(bare_meta: Stage) -> None:
    url = f"{bare_meta.edge.url}/webhooks/facebook"
    assert await bare_meta.cannot("olena", "messages", text="Є хто?") == "webhook_not_set"
    told = await bare_meta.dashboard(callback_url=url)
    assert (told["callback"], told["subscribed_fields"]) == (url, None)
    (greeting,) = bare_meta.edge.handshakes
    assert (greeting["hub.mode"], greeting["hub.verify_token"]) == ("subscribe", VERIFY)
    assert greeting["hub.challenge"].isdigit()
    assert await bare_meta.control("channels") == []
    assert (await bare_meta.act("olena", "messages", text="Є хто?"))["update_id"] is None
    assert [one["connected"] for one in await bare_meta.control("channels")] == [False]
    await bare_meta.subscribe()
    assert (await bare_meta.writes(text="А тепер?"))["message"]["text"] == "А тепер?"
    (shown,) = await bare_meta.control("channels")
    assert (shown["channel_id"], shown["kind"], shown["connected"]) == (CHANNELS[PAGE], "facebook", True)


async def test_an_address_that_fails_the_handshake_is_refused(bare_meta: Stage) -> None:
    body = {"callback_url": "http://127.0.0.1:9/x"}
    status, answer = await bare_meta.try_control(f"meta/{PAGE}", body, "PUT")
    assert (status, answer["code"]) == (422, "callback_refused")


async def test_callbacks_subscriptions_and_renewed_tokens_outlive_the_process(tmp_path: Path) -> None:
    state = tmp_path / "sandbox.json"
    async with meta_stage(meta_settings(state)) as stage:
        await stage.connect()
        path = "refresh_access_token?grant_type=ig_refresh_token"
        renewed = await stage.good(path, account=LOGIN_IG)
    assert state.with_suffix(".meta.json").stat().st_mode & 0o777 == 0o600
    async with meta_stage(meta_settings(state)) as stage:
        told = await stage.control(f"meta/{PAGE}")
        assert told["subscribed_fields"] == PAGE_FIELDS.split(",")
        me = await stage.good("me?fields=user_id", account=LOGIN_IG, token=renewed["access_token"])
        assert me["user_id"] == LOGIN_IG
        assert (await stage.graph("me", account=LOGIN_IG))[0] == 200


@pytest.mark.parametrize(("account", "secret"), [(PAGE, SECRET), (IG, SECRET), (LOGIN_IG, LOGIN_SECRET)])
async def test_what_is_signed_is_metas_escaped_form(meta: Stage, account: str, secret: str) -> None:
    await meta.writes("olena", account, text="Ціна: https://a.ua/äöå 🙂")
    raw, header = meta.edge.raw[-1], meta.edge.signatures[-1]
    assert header == "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()
    assert raw.isascii()
    assert b"https:\\/\\/a.ua\\/\\u00e4\\u00f6\\u00e5 \\ud83d\\ude42" in raw
    for again in (json.dumps(json.loads(raw)), json.dumps(json.loads(raw), ensure_ascii=False)):
        assert "sha256=" + hmac.new(secret.encode(), again.encode(), hashlib.sha256).hexdigest() != header


# --- the thread


@pytest.mark.parametrize("account", ALL)
async def test_a_text_is_answered_and_the_answer_is_echoed_and_read(meta: Stage, account: str) -> None:
    said = await meta.writes("olena", account, text="Добрий день")
    assert shape(said) == shape(_message(text=X))
    assert said["sender"]["id"] == await meta.contact("olena", account)
    payload = meta.edge.got[-1]
    assert payload["object"] == ("page" if account == PAGE else "instagram")
    assert payload["entry"][0]["id"] == account
    assert payload["entry"][0]["time"] >= said["timestamp"]
    mid = await meta.sent("olena", account, message={"text": "Вітаю", "metadata": "65f0c1"})
    (echo,) = await meta.edge.until(meta.edge.echoes)
    told = {"is_echo": True, "mid": mid, "text": "Вітаю"}
    if account == PAGE:
        told |= {"app_id": int(APP_ID), "metadata": "65f0c1"}
        delivery = await meta.edge.until_of("delivery")
        assert shape(delivery) == shape(
            {"sender": {"id": X}, "recipient": {"id": X}, "delivery": {"mids": [X], "watermark": 1}}
        )
        assert delivery["delivery"] == {"mids": [mid], "watermark": echo["timestamp"]}
    assert echo["message"] == told
    assert (echo["sender"]["id"], echo["recipient"]["id"]) == (account, said["sender"]["id"])
    await meta.act("olena", "read", account)
    read = (await meta.edge.until_of("read"))["read"]
    assert read == ({"watermark": echo["timestamp"]} if account == PAGE else {"mid": mid})
    if account != PAGE:
        assert meta.edge.of("delivery") == []


async def test_the_same_person_has_another_id_everywhere(meta: Stage) -> None:
    ids = {await meta.contact("olena", account) for account in ALL}
    assert len(ids) == 3
    assert all(one.isdigit() for one in ids)


# --- what clients write: every sample of the sheet

PAGE_SAMPLES: dict[str, tuple[Json, Json]] = {
    "photo": ({"kind": "photo"}, _attached("image", {"url": X})),
    "photo with words": (
        {"kind": "photo", "text": "чек"},
        _message(text=X, attachments=[{"type": "image", "payload": {"url": X}}]),
    ),
    "voice": ({"kind": "voice"}, _attached("audio", {"url": X})),
    "video": ({"kind": "video"}, _attached("video", {"url": X})),
    "file": ({"kind": "document", "file": "рахунок.pdf"}, _attached("file", {"url": X})),
    "sticker": ({"kind": "sticker"}, _attached("sticker", {"url": X, "sticker_id": 1})),
    "thumb": ({"kind": "like"}, _attached("sticker", {"url": X, "sticker_id": 1})),
    "link": ({"kind": "share", "text": "https://a.ua"}, _message(
        text=X, attachments=[{"type": "fallback", "payload": {"url": X, "title": X}}])),
    "reel": ({"kind": "ig_reel", "title": "Рілс"},
             _attached("ig_reel", {"url": X, "title": X, "reel_video_id": 1})),
    "post": ({"kind": "post"}, _attached("post", {"url": X, "title": X, "id": 1})),
    "location": ({"kind": "location"}, _attached("location", {"coordinates": {"lat": 1.0, "long": 1.0}})),
    "appointment": ({"kind": "appointment"}, _attached("appointment_booking", {
        "booking_id": X, "status": X, "start_time": 1, "end_time": 1, "timezone": X})),
    "product": ({"kind": "product"}, _attached("template", {"product": {"elements": [
        {"id": X, "retailer_id": X, "image_url": X, "title": X, "subtitle": X}]}})),
    "nothing known": ({"kind": "unsupported"}, _attached("fallback", None)),
    "referral": (
        {"text": "Скільки?",
         "referral": {"ref": "spring", "ad_id": "6045", "source": "ADS", "type": "OPEN_THREAD"}},
        _message(text=X, referral={"ref": X, "ad_id": X, "source": X, "type": X}),
    ),
}  # fmt: skip
INSTAGRAM_SAMPLES: dict[str, tuple[Json, Json]] = {
    "photo": ({"kind": "photo"}, _attached("image", {"url": X})),
    "sticker": ({"kind": "sticker"}, _attached("image", {"url": X})),
    "post": ({"kind": "post"}, _attached("ig_post", {"ig_post_media_id": X, "title": X, "url": X})),
    "reel": ({"kind": "reel"}, _attached("ig_reel", {"reel_video_id": X, "title": X, "url": X})),
    "story reply": ({"kind": "story_reply", "text": "гарно"}, _message(text=X, reply_to=STORY)),
    "story mention": ({"kind": "story_mention"}, _attached("story_mention", {"url": X})),
    "heart": ({"kind": "like"}, _message(attachments=[{"type": "like_heart"}])),
    "once": ({"kind": "ephemeral"}, _message(attachments=[{"type": "ephemeral"}])),
    "unsupported": ({"kind": "unsupported"}, _message(is_unsupported=True)),
    "shared story": ({"kind": "story"}, _attached("ig_story", {"url": X})),
}


async def test_a_message_to_a_page_has_the_shape_of_the_sample(meta: Stage) -> None:
    for name, (written, sample) in PAGE_SAMPLES.items():
        assert shape(await meta.writes(**written)) == shape(sample), name


async def test_a_message_to_instagram_has_the_shape_of_the_sample(meta: Stage) -> None:
    for name, (written, sample) in INSTAGRAM_SAMPLES.items():
        for account in (IG, LOGIN_IG):  # both flavours deliver the same
            assert shape(await meta.writes("olena", account, **written)) == shape(sample), (name, account)


async def test_several_files_are_one_message_and_an_old_sticker_comes_twice(meta: Stage) -> None:
    said = await meta.writes(album=[{}, {"kind": "video"}], text="ось")
    assert [one["type"] for one in said["message"]["attachments"]] == ["image", "video"]
    said = await meta.writes(kind="sticker", doubled=True, sticker_id=7)
    assert [(one["type"], one["payload"]["sticker_id"]) for one in said["message"]["attachments"]] == [
        ("image", 7),
        ("sticker", 7),
    ]
    reel = (await meta.writes("olena", IG, kind="reel"))["message"]["attachments"][0]
    async with meta.http.get(reel["payload"]["url"]) as answer:
        assert (answer.status, answer.content_type) == (200, "video/mp4")
    relative = await meta.writes(kind="reel", url="/reel/123/")
    assert relative["message"]["attachments"][0]["payload"]["url"] == "/reel/123/"


@pytest.mark.parametrize("account", ALL)
async def test_addresses_of_files_give_bytes_without_a_token_and_end(meta: Stage, account: str) -> None:
    said = await meta.writes("olena", account, kind="photo")
    url = said["message"]["attachments"][0]["payload"]["url"]
    async with meta.http.get(url) as answer:
        assert (answer.status, answer.content_type) == (200, "image/jpeg")
        assert (await answer.read())[:2] == b"\xff\xd8"
    async with meta.http.get(url[:-3] + "000") as answer:
        assert answer.status == 403
    await meta.pace(1_000_000)
    said = await meta.writes("olena", account, kind="photo")
    url = said["message"]["attachments"][0]["payload"]["url"]

    async def is_over() -> bool:
        async with meta.http.get(url) as answer:
            return answer.status == 403

    assert await eventually(is_over)


# --- events


async def test_replies_say_what_they_answer(meta: Stage) -> None:
    first = (await meta.writes())["message"]["mid"]
    ours = await meta.sent()
    again = await meta.writes(text="так", reply_to=ours)
    assert again["message"]["reply_to"] == {"mid": ours, "is_self_reply": False}
    again = await meta.writes(text="ще", reply_to=first)
    assert again["message"]["reply_to"] == {"mid": first, "is_self_reply": True}
    await meta.sent(reply_to={"mid": first})
    assert (await meta.edge.until(meta.edge.echoes, 2))[-1]["message"]["reply_to"]["mid"] == first
    hers = (await meta.writes("olena", IG))["message"]["mid"]
    again = await meta.writes("olena", IG, text="так", reply_to=hers)
    assert again["message"]["reply_to"] == {"mid": hers}


async def test_reactions_edits_and_unsends(meta: Stage) -> None:
    for account in (PAGE, IG):
        mid = (await meta.writes("olena", account, text="раз"))["message"]["mid"]
        ours = await meta.sent("olena", account)
        before = len(meta.edge.of("reaction"))
        await meta.act("olena", "react", account, emoji="❤️")
        told = await meta.edge.until_of("reaction", before + 1)
        assert told["reaction"] == {"reaction": "love", "emoji": "❤️", "action": "react", "mid": ours}
        await meta.act("olena", "react", account, emoji="")
        told = await meta.edge.until_of("reaction", before + 2)
        assert told["reaction"] == {"action": "unreact", "mid": ours}
        before = len(meta.edge.of("message_edit"))
        for number in range(1, 6):
            await meta.act("olena", "edit", account, text=f"два {number}")
            told = await meta.edge.until_of("message_edit", before + number)
            assert told["message_edit"] == {"mid": mid, "text": f"два {number}", "num_edit": number}
        assert await meta.cannot("olena", "edit", account, text="шість") == "too_many_edits"
    assert (await meta.act("olena", "delete"))["update_id"] is None
    before = len(meta.edge.of("message"))
    await meta.act("olena", "delete", IG)
    told = await meta.edge.until_of("message", before + 1)
    assert told["message"] == {"mid": mid, "is_deleted": True}
    await meta.writes("olena", IG)
    assert (await meta.act("olena", "delete", IG, web=True))["update_id"] is None


async def test_quick_replies_buttons_postbacks_and_referrals(meta: Stage) -> None:
    for account in (PAGE, IG):
        await meta.writes("olena", account)
        quick = [{"content_type": "text", "title": "Червоний", "payload": "RED"}]
        await meta.sent("olena", account, message={"text": "Який?", "quick_replies": quick})
        before = len(meta.edge.of("message"))
        await meta.act("olena", "press", account, text="Червоний")
        told = (await meta.edge.until_of("message", before + 1))["message"]
        assert (told["text"], told["quick_reply"]) == ("Червоний", {"payload": "RED"})
        assert await meta.cannot("olena", "press", account, text="Червоний") == "no_such_button"
        buttons = [{"type": "postback", "title": "Подзвоніть", "payload": "CALL"},
                   {"type": "web_url", "title": "Сайт", "url": "https://example.com"}]  # fmt: skip
        payload = {"template_type": "button", "text": "Оберіть", "buttons": buttons}
        template = {"attachment": {"type": "template", "payload": payload}}
        await meta.sent("olena", account, message=template)
        before = len(meta.edge.of("postback"))
        await meta.act("olena", "press", account, data="CALL")
        told = await meta.edge.until_of("postback", before + 1)
        assert shape(told) == shape({**HEAD, "postback": {"mid": X, "title": X, "payload": X}})
        assert (await meta.act("olena", "press", account, text="Сайт"))["opens"] == "https://example.com"
    await meta.act("olena", "start", ref="qr-shop-7")
    told = await meta.edge.until_of("postback", 3)
    assert told["postback"]["payload"] == "GET_STARTED"
    assert told["postback"]["referral"] == {"ref": "qr-shop-7", "source": "SHORTLINK", "type": "OPEN_THREAD"}
    await meta.act("olena", "start", as_text=True, without_mid=True)
    told = await meta.edge.until_of("postback", 4)
    assert isinstance(told["timestamp"], str)
    assert "mid" not in told["postback"]
    await meta.act("olena", "referral", in_seconds=True)
    told = await meta.edge.until_of("referral")
    assert told["timestamp"] < 10**12
    assert told["referral"]["ref"] == "qr-shop-7"
    await meta.act("olena", "optin", user_ref="checkbox-ref-1")
    told = await meta.edge.until_of("optin")
    assert told["sender"] == {"user_ref": "checkbox-ref-1"}


async def test_what_the_staff_type_in_metas_own_application_is_an_echo(meta: Stage) -> None:
    for count, account in enumerate((PAGE, IG, LOGIN_IG), 1):
        await meta.writes("olena", account)
        answered = await meta.act("olena", "inbox", account, text="Ми вже їдемо")
        echo = (await meta.edge.until(meta.edge.echoes, count))[-1]["message"]
        assert (echo["mid"], echo["text"]) == (answered["provider_id"], "Ми вже їдемо")
        assert "metadata" not in echo
        assert ("app_id" in echo) == (account == PAGE)
        assert echo.get("app_id") != int(APP_ID)
    await meta.act("olena", "inbox", kind="photo")
    echo = (await meta.edge.until(meta.edge.echoes, 4))[-1]["message"]
    assert echo["attachments"][0]["type"] == "image"


async def test_another_app_holds_the_thread(meta: Stage) -> None:
    await meta.writes()
    mid = (await meta.act("olena", "messages", text="боту", standby=True))["provider_id"]
    (told,) = await meta.edge.until(lambda: meta.edge.items("standby"))
    assert told["message"] == {"mid": mid, "text": "боту"}
    await meta.act("olena", "start")
    told = (await meta.edge.until(lambda: meta.edge.items("standby"), 2))[-1]
    assert told["postback"].keys() == {"mid", "title"}
    assert await meta.refused() == (10, 2018300)
    asked = {"recipient": {"id": await meta.contact()}}
    assert await meta.good(f"{PAGE}/take_thread_control", asked) == {"success": True}
    await meta.sent()
    await meta.act("olena", "handover", to="inbox", metadata="людині")
    taken = (await meta.edge.until_of("take_thread_control"))["take_thread_control"]
    assert taken["previous_owner_app_id"] == APP_ID
    await meta.act("olena", "handover", to="app", metadata="to CRM")
    passed = (await meta.edge.until_of("pass_thread_control"))["pass_thread_control"]
    assert (passed["new_owner_app_id"], passed["metadata"]) == (APP_ID, "to CRM")
    assert (await meta.writes(text="нам"))["message"]["text"] == "нам"
    await meta.act("olena", "policy", reason="spam")
    policy = await meta.edge.until_of("policy_enforcement")
    assert "sender" not in policy
    assert policy["policy_enforcement"] == {"action": "warning", "reason": "spam"}


async def test_times_may_be_earlier_and_in_seconds_and_watermarks_alone(meta: Stage) -> None:
    at = 1_767_225_600_877
    assert (await meta.writes(text="торік", sent_at=at))["timestamp"] == at
    assert (await meta.writes(text="торік", sent_at=at, in_seconds=True))["timestamp"] == at // 1000
    await meta.act("olena", "wait", seconds=0.001)
    await meta.writes()
    await meta.act("olena", "offline")
    mid = await meta.sent()
    assert meta.edge.of("delivery") == []
    await meta.act("olena", "deliver", mids=False)
    told = (await meta.edge.until_of("delivery"))["delivery"]
    assert told.keys() == {"watermark"}
    await meta.act("olena", "online")
    assert mid in [one["provider_id"] for one in await meta.shows()]
    await meta.act("olena", "read", watermark=at)
    assert (await meta.edge.until_of("read"))["read"] == {"watermark": at}


async def test_an_account_reads_a_message_or_nothing(meta: Stage) -> None:
    await meta.writes("olena", IG)
    assert await meta.cannot("olena", "read", IG, watermark=1) == "nothing_to_read"


async def test_fields_are_ticked_for_a_callback_that_is_there(bare_meta: Stage) -> None:
    status, answer = await bare_meta.try_control(f"meta/{PAGE}", {"fields": ["messages"]}, "PUT")
    assert (status, answer["code"]) == (409, "webhook_not_set")


async def test_raw_webhooks_are_signed_too(meta: Stage) -> None:
    await meta.act("olena", "raw", payload={"object": "page", "entry": [{"id": "1", "messaging": []}]})
    await meta.edge.until(lambda: meta.edge.got)
    raw, header = meta.edge.raw[-1], meta.edge.signatures[-1]
    assert header == "sha256=" + hmac.new(SECRET.encode(), raw, hashlib.sha256).hexdigest()
    await meta.act("olena", "raw", element={"sender": {}, "read": {"watermark": 1}})
    assert (await meta.edge.until_of("read"))["sender"] == {}


# --- faults of webhooks


async def test_webhooks_come_in_batches_twice_and_late(meta: Stage) -> None:
    await meta.faults({"kind": "batch", "size": 3, "seconds": 5, "shape": "entries"})
    for number in range(3):
        await meta.act("olena", "messages", text=f"т{number}")
    await meta.edge.until(lambda: meta.edge.of("message"), 3)
    (payload,) = meta.edge.got
    assert len(payload["entry"]) == 3
    await meta.faults({"kind": "batch", "size": 2, "seconds": 5, "shape": "messages"})
    await meta.act("taras", "messages", text="а")
    await meta.act("taras", "messages", text="б")
    await meta.edge.until(lambda: meta.edge.of("message"), 5)
    assert [len(entry["messaging"]) for entry in meta.edge.got[-1]["entry"]] == [2]
    await meta.faults({"kind": "duplicate", "count": 1})
    await meta.writes(text="двічі")
    texts = [one["message"]["text"] for one in await meta.edge.until(lambda: meta.edge.of("message"), 7)]
    assert texts[-2:] == ["двічі", "двічі"]


async def test_a_burst_is_counted(meta: Stage) -> None:
    order = {"clients": 5, "messages_per_client": 4, "rate_per_s": 500}
    burst = await meta.control(f"{CHANNELS[IG]}/burst", order)
    await meta.edge.until(lambda: meta.edge.of("message"), 20)
    done = await meta.control(f"burst/{burst['id']}")
    assert done["written"] == 20
    assert {item["recipient"]["id"] for item in meta.edge.of("message")} == {IG}
