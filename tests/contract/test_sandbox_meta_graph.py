"""Tokens, subscriptions, profiles and conversations of Meta in the sandbox: the fact sheet, 1.1–4."""

import asyncio
import time
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import web
from meta_playground import (
    APP_ID,
    CHANNELS,
    IG,
    LOGIN_FIELDS,
    LOGIN_IG,
    LOGIN_TOKEN,
    PAGE,
    PAGE_FIELDS,
    PAGE_TOKEN,
    Json,
    Stage,
)
from viber_playground import eventually

from sandbox.meta.delivery import MetaDelivery

DAY = 24 * 3600.0
PATIENCE_SECONDS = 1.1
"""Longer than the second of the limit of readings."""
MESSAGE = "messages{id,created_time,from,to,message,attachments,sticker,shares,story}"


# --- tokens, versions, objects


async def test_a_token_opens_its_own_objects_on_its_own_host(meta: Stage) -> None:
    assert await meta.error("me", token=None) == (401, 190, None)
    for account, token in ((LOGIN_IG, PAGE_TOKEN), (PAGE, LOGIN_TOKEN), (PAGE, "EAAGnobody")):
        status, answer = await meta.graph("me", account=account, token=token)
        assert (status, answer["error"]["code"]) == (401, 190)
        assert "Cannot parse access token" in answer["error"]["message"]
    assert await meta.error(LOGIN_IG) == (400, 100, 33)
    assert await meta.error(f"{LOGIN_IG}/messages", {"recipient": {"id": "1"}}) == (400, 100, 33)
    assert await meta.error(f"{IG}/messages", {"recipient": {"id": "1"}}) == (400, 100, 33)
    assert await meta.error(f"{PAGE}/nothing") == (400, 100, 33)


async def test_versions_that_are_gone_are_refused(meta: Stage) -> None:
    for version in ("v20.0", "v19.0", "v99.0"):
        assert await meta.error("me", version=version) == (400, 2500, None)
    for version in ("v21.0", "v25.0", "v26.0"):
        assert await meta.good("me", version=version) == {"name": "Мавка", "id": PAGE}


@pytest.mark.parametrize(
    ("state", "subcode"), [("removed", 458), ("password", 460), ("expired", 463), ("invalid", 467)]
)
async def test_tokens_end(meta: Stage, state: str, subcode: int) -> None:
    await meta.dashboard(token=state)
    assert await meta.error("me") == (401, 190, subcode)
    await meta.dashboard(token="ok")
    await meta.good("me")
    await meta.dashboard(LOGIN_IG, token_expires_in=-1)
    assert await meta.error("me", account=LOGIN_IG) == (401, 190, 463)
    fresh = (await meta.control(f"{CHANNELS[PAGE]}/revoke-token", {}))["token"]
    assert await meta.error("me") == (401, 190, 460)
    await meta.good("me", token=fresh)


async def test_objects_tell_the_fields_that_are_asked_for(meta: Stage) -> None:
    asked = "fields=id,name,instagram_business_account{id,username}"
    told = await meta.good(f"{PAGE}?{asked}")
    assert told == {
        "id": PAGE,
        "name": "Мавка",
        "instagram_business_account": {"id": IG, "username": "mavka"},
    }
    told = await meta.good(f"{PAGE}?fields=instagram_business_account")
    assert told["instagram_business_account"] == {"id": IG}
    assert await meta.good(f"{IG}?fields=username") == {"id": IG, "username": "mavka"}
    me = await meta.good("me?fields=user_id,username", account=LOGIN_IG)
    assert (me["user_id"], me["username"]) == (LOGIN_IG, "clinic")
    assert me["id"] != LOGIN_IG
    assert await meta.error(f"{PAGE}?fields=shoe_size") == (400, 100, None)
    assert await meta.error(f"{PAGE}?fields=name{{") == (400, 100, None)


async def test_debug_token_tells_scopes_and_the_end(meta: Stage) -> None:
    data = (await meta.good(f"debug_token?input_token={PAGE_TOKEN}"))["data"]
    assert (data["app_id"], data["is_valid"], data["expires_at"]) == (APP_ID, True, 0)
    assert {"pages_messaging", "pages_manage_metadata", "instagram_manage_messages"} <= set(data["scopes"])
    await meta.dashboard(permissions=False, token_expires_in=3 * DAY)
    data = (await meta.good(f"debug_token?input_token={PAGE_TOKEN}"))["data"]
    assert "pages_messaging" not in data["scopes"]
    assert data["expires_at"] == pytest.approx(time.time() + 3 * DAY, abs=60)
    data = (await meta.good("debug_token?input_token=nobodys"))["data"]
    assert (data["is_valid"], data["error"]["code"]) == (False, 190)


async def test_a_login_is_renewed_for_sixty_days_when_it_is_a_day_old(meta: Stage) -> None:
    path = "refresh_access_token?grant_type=ig_refresh_token"
    told = await meta.good(path, account=LOGIN_IG)
    assert told.keys() >= {"access_token", "token_type", "expires_in"}
    assert told["expires_in"] == pytest.approx(60 * DAY, abs=5)
    fresh = told["access_token"]
    assert fresh.startswith("IGAA")
    await meta.good("me", account=LOGIN_IG, token=fresh)
    assert await meta.error(path, account=LOGIN_IG, token=fresh) == (400, 100, None)
    await meta.dashboard(LOGIN_IG, token_age=DAY + 1)
    await meta.good(path, account=LOGIN_IG, token=fresh)
    url = f"{meta.url}/graph-instagram/{path}&access_token={LOGIN_TOKEN}"
    async with meta.http.get(url) as answer:
        assert answer.status == 200
    assert await meta.error(path) == (400, 100, 33)


# --- subscriptions


async def test_subscriptions_are_listed_changed_and_taken_away(bare_meta: Stage) -> None:
    assert await bare_meta.good(f"{PAGE}/subscribed_apps") == {"data": []}
    await bare_meta.connect(PAGE)
    (app,) = (await bare_meta.good(f"{PAGE}/subscribed_apps"))["data"]
    assert (app["id"], app["subscribed_fields"]) == (APP_ID, PAGE_FIELDS.split(","))
    status, answer = await bare_meta.graph(
        f"{PAGE}/subscribed_apps", {"subscribed_fields": "messages,messaging_seen"}
    )
    assert (status, answer["error"]["code"]) == (400, 100)
    assert "messaging_handovers" in answer["error"]["message"]
    assert '"messaging_seen"' in answer["error"]["message"]
    wrong = {"subscribed_fields": ["messages", "message_deliveries"]}
    assert await bare_meta.error(f"{LOGIN_IG}/subscribed_apps", wrong, account=LOGIN_IG) == (400, 100, None)
    await bare_meta.subscribe(LOGIN_IG)
    (app,) = (await bare_meta.good(f"{LOGIN_IG}/subscribed_apps", account=LOGIN_IG))["data"]
    assert app["subscribed_fields"] == LOGIN_FIELDS.split(",")
    await bare_meta.good(f"{PAGE}/subscribed_apps", method="DELETE")
    assert await bare_meta.good(f"{PAGE}/subscribed_apps") == {"data": []}


async def test_only_fields_that_were_subscribed_are_told(meta: Stage) -> None:
    fewer = {"subscribed_fields": "messages,message_reads"}
    await meta.good(f"{PAGE}/subscribed_apps", fewer)
    said = await meta.writes(text="а", referral={"ref": "x"})
    assert "referral" not in said["message"]
    await meta.sent()
    assert (await meta.act("olena", "react", emoji="👍"))["update_id"] is None
    assert (await meta.act("olena", "edit", text="б"))["update_id"] is None
    assert (await meta.act("olena", "start"))["update_id"] is None
    await meta.act("olena", "read")
    await meta.edge.until_of("read")
    assert [item.keys() & {"message", "read"} for item in meta.edge.items()] == [{"message"}, {"read"}]
    # Instagram through the page: what is ticked in the dashboard, as long as the page has its messages.
    await meta.writes("olena", IG)
    await meta.dashboard(IG, fields=["messages"])
    assert (await meta.act("olena", "start", IG))["update_id"] is None
    await meta.good(f"{PAGE}/subscribed_apps", {"subscribed_fields": "message_reads"})
    assert (await meta.act("olena", "messages", IG, text="є хто?"))["update_id"] is None


async def test_after_an_hour_of_failures_the_app_is_unsubscribed(meta: Stage) -> None:
    await meta.pace(1800.0)

    async def broken(_: Json) -> web.Response:
        return web.Response(status=503)

    meta.edge.answer = broken
    await meta.act("olena", "messages", text="загублене")

    async def is_lost() -> bool:
        return (await meta.control(f"meta/{PAGE}"))["subscribed_fields"] is None

    assert await eventually(is_lost)
    dropped = await meta.until_ledger(type="webhook_dropped", channel_id=CHANNELS[PAGE])
    assert dropped[0]["client"] == "olena"
    attempts = await meta.ledger(type="webhook", kind="message")
    assert 3 <= len(attempts) <= 8
    assert await meta.good(f"{PAGE}/subscribed_apps") == {"data": []}

    async def fine(_: Json) -> web.Response:
        return web.Response()

    meta.edge.answer = fine
    assert (await meta.act("olena", "messages", text="теж загублене"))["update_id"] is None
    assert (await meta.act("olena", "messages", IG, text="і тут"))["update_id"] is None
    # Instagram Login has a subscription of its own.
    await meta.writes("olena", LOGIN_IG)
    await meta.subscribe()
    assert (await meta.writes(text="знову"))["message"]["text"] == "знову"
    listed = await meta.good(f"{PAGE}/conversations?platform=messenger&fields={MESSAGE}")
    said = [one["message"] for one in listed["data"][0]["messages"]["data"]]
    assert said == ["знову", "теж загублене", "загублене"]


async def test_one_success_within_the_hour_keeps_the_subscription(meta: Stage) -> None:
    await meta.pace(3600.0)
    failed = 0

    async def sometimes(payload: Json) -> web.Response:
        nonlocal failed
        is_first = payload["entry"][0]["messaging"][0]["message"]["text"] == "упаде" and failed < 3
        failed += is_first
        return web.Response(status=500 if is_first else 200)

    meta.edge.answer = sometimes
    await meta.act("olena", "messages", text="упаде")
    await meta.until_ledger(type="webhook", status=200, client="olena")
    await asyncio.sleep(1.2)  # pace: an hour of Meta's must pass
    assert (await meta.control(f"meta/{PAGE}"))["subscribed_fields"] is not None


async def test_meta_drops_the_app_at_once_when_told(meta: Stage) -> None:
    await meta.faults({"kind": "late", "seconds": 60})
    await meta.act("olena", "messages", text="чекає")
    await meta.dashboard(unsubscribe=True)
    assert await meta.until_ledger(type="webhook_dropped")
    await meta.faults()
    assert (await meta.act("olena", "messages", text="і це"))["update_id"] is None


async def test_an_answer_that_takes_too_long_is_no_answer(
    meta: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MetaDelivery.answer_timeout_seconds == pytest.approx(5, abs=0.1)
    monkeypatch.setattr(MetaDelivery, "answer_timeout_seconds", 0.3)
    await meta.pace(1000.0)
    given_up = asyncio.Event()
    calls = 0

    async def slow_once(_: Json) -> web.Response:
        nonlocal calls
        calls += 1
        if calls == 1:
            await given_up.wait()
        return web.Response()

    meta.edge.answer = slow_once
    await meta.act("olena", "messages", text="повільно")
    (timeout,) = await meta.until_ledger(type="webhook", error="Read timeout expired")
    given_up.set()
    assert timeout["took_ms"] == pytest.approx(300, abs=200)


# --- profiles


async def test_profiles_are_told_of_who_wrote_and_refused_as_meta_refuses(meta: Stage) -> None:
    psid, igsid = await meta.contact("olena"), await meta.contact("olena", IG)
    assert await meta.good(f"{psid}?fields=name") == {}
    assert await meta.error(f"{igsid}?fields=name") == (403, 230, None)
    await meta.writes(name="Олена Коваль")
    await meta.writes("olena", IG)
    asked = "first_name,last_name,name,profile_pic,locale,timezone,gender"
    assert await meta.good(f"{psid}?fields={asked}") == {
        "first_name": "Олена",
        "last_name": "Коваль",
        "name": "Олена Коваль",
        "id": psid,
    }
    told = await meta.good(f"{igsid}?fields=name,username,follower_count,is_verified_user")
    assert told["name"] == "Олена Коваль"
    assert told["username"]
    for account, contact in ((PAGE, psid), (IG, igsid)):
        for variant, code in (("consent", 230), ("phone_account", 100)):
            await meta.act("olena", "profile", account, variant=variant)
            assert (await meta.error(contact))[1] == code
        await meta.act("olena", "profile", account, variant="empty")
        assert await meta.good(contact) == {}
        await meta.act("olena", "profile", account, variant="no_match")
        assert (await meta.error(contact))[1] == (100 if account == PAGE else 9010)
    await meta.act("olena", "profile", variant="phone_account")
    assert await meta.error(psid) == (400, 100, 2018218)
    assert await meta.error("6000000000000001") == (400, 100, 33)


# --- conversations


async def _read(meta: Stage, path: str, account: str = PAGE) -> Json:
    """A reading, as soon as the limit of two a second lets it."""
    status, answer = await meta.graph(path, account=account)
    if status != 200:
        assert answer["error"]["code"] == 613
        await asyncio.sleep(PATIENCE_SECONDS)  # pace: two readings a second
        return await meta.good(path, account=account)
    return answer


async def test_conversations_have_everything_of_both_sides_under_the_same_ids(meta: Stage) -> None:
    for account, platform in ((PAGE, "messenger"), (IG, "instagram"), (LOGIN_IG, "instagram")):
        mids = [(await meta.writes("olena", account, text="раз"))["message"]["mid"]]
        mids.append((await meta.writes("olena", account, kind="photo"))["message"]["mid"])
        mids.append(await meta.sent("olena", account))
        mids.append((await meta.act("olena", "inbox", account, text="від колег"))["provider_id"])
        holder = PAGE if account != LOGIN_IG else LOGIN_IG
        path = f"{holder}/conversations?platform={platform}&fields=id,updated_time,{MESSAGE}&limit=25"
        (one,) = (await _read(meta, path, account))["data"]
        told = one["messages"]["data"]
        assert [message["id"] for message in told] == mids[::-1]
        contact = await meta.contact("olena", account)
        assert [message["from"]["id"] for message in told] == [account, account, contact, contact]
        assert told[0]["to"]["data"][0]["id"] == contact
        assert told[3]["message"] == "раз"
        assert told[3]["created_time"].endswith("+0000")
        picture = told[2]["attachments"]["data"][0]
        async with meta.http.get(picture["image_data"]["url"]) as answer:
            assert answer.status == 200
        same = await _read(meta, f"{one['id']}?fields={MESSAGE}", account)
        assert [message["id"] for message in same["messages"]["data"]] == mids[::-1]
        alone = await _read(meta, f"{mids[0]}?fields=id,message,from", account)
        assert (alone["id"], alone["message"]) == (mids[0], "раз")


async def test_what_points_elsewhere_is_told_as_shares_stickers_and_stories(meta: Stage) -> None:
    written: list[tuple[str, Json, str]] = [
        (PAGE, {"kind": "sticker"}, "sticker"),
        (PAGE, {"kind": "share"}, "shares"),
        (PAGE, {"kind": "document"}, "attachments"),
        (IG, {"kind": "story_reply", "text": "гарно"}, "story"),
        (IG, {"kind": "story_mention"}, "story"),
        (IG, {"kind": "reel"}, "shares"),
        (IG, {"kind": "ephemeral"}, ""),
    ]
    for account, message, key in written:
        mid = (await meta.writes("olena", account, **message))["message"]["mid"]
        fields = "id,created_time,from,to,message,attachments,sticker,shares,story"
        told = await _read(meta, f"{mid}?fields={fields}")
        assert told.keys() - {"id", "created_time", "from", "to", "message"} == ({key} if key else set())
        if key == "story":
            (word,) = told["story"]
            assert word == ("mention" if message["kind"] == "story_mention" else "reply_to")
    unsent = (await meta.writes("olena", IG))["message"]["mid"]
    await meta.act("olena", "delete", IG)
    listed = await _read(meta, f"{PAGE}/conversations?platform=instagram&fields={MESSAGE}")
    ids = {message["id"] for message in listed["data"][0]["messages"]["data"]}
    assert len(ids) == 4
    assert unsent not in ids
    status, answer = await meta.graph(unsent)
    assert status == 400, answer


async def test_conversations_come_in_pages_newest_first(meta: Stage) -> None:
    for number in range(5):
        await meta.act(f"c{number}", "messages", text=f"т{number}", seconds_ago=100 - number)
        for again in range(4):
            await meta.act(f"c{number}", "messages", text=f"ще{again}", seconds_ago=50 - again - number / 10)
    found: list[str] = []
    after = ""
    while True:
        page = await _read(meta, f"{PAGE}/conversations?fields=id,updated_time&limit=3{after}")
        found += [one["id"] for one in page["data"]]
        if "next" not in page["paging"]:
            break
        assert parse_qs(urlsplit(page["paging"]["next"]).query)["after"] == [
            page["paging"]["cursors"]["after"]
        ]
        after = f"&after={page['paging']['cursors']['after']}"
    assert len(found) == len(set(found)) == 5
    said: list[str] = []
    after = ""
    while True:
        fields = f"messages.limit(3){after}{{id,message,created_time}}"
        page = (await _read(meta, f"{found[0]}?fields={fields}"))["messages"]
        said += [one["message"] for one in page["data"]]
        if "next" not in page["paging"]:
            break
        after = f".after({page['paging']['cursors']['after']})"
    assert said[-1].startswith("т")
    assert said[:4] == ["ще3", "ще2", "ще1", "ще0"]
    first = (await _read(meta, f"{found[0]}?fields=messages.limit(3){{id,message}}"))["messages"]
    await asyncio.sleep(PATIENCE_SECONDS)  # pace: two readings a second
    async with meta.http.get(
        first["paging"]["next"], headers={"Authorization": f"Bearer {PAGE_TOKEN}"}
    ) as answer:
        assert [one["message"] for one in (await answer.json())["data"]] == said[3:]


async def test_reading_is_limited_and_old_requests_are_left_out(meta: Stage) -> None:
    await meta.writes("olena", PAGE, text="давно", seconds_ago=31 * DAY)
    await meta.act("olena", "requests")
    path = f"{PAGE}/conversations?platform=messenger"
    assert (await _read(meta, path))["data"] == []
    answers = await asyncio.gather(*(meta.graph(path) for _ in range(6)))
    refused = [answer["error"]["code"] for status, answer in answers if status != 200]
    assert refused
    assert set(refused) == {613}
    await meta.writes("olena", PAGE, text="знову")
    assert len((await _read(meta, path))["data"]) == 1
    assert await meta.error(f"{PAGE}/conversations?platform=telegram") == (400, 100, None)


async def test_only_the_newest_may_be_told_whole(meta: Stage) -> None:
    await meta.dashboard(IG, details=2)
    mids = [(await meta.writes("olena", IG, text=f"т{n}"))["message"]["mid"] for n in range(4)]
    (one,) = (await _read(meta, f"{PAGE}/conversations?platform=instagram&fields={MESSAGE}"))["data"]
    told: list[Any] = one["messages"]["data"]
    assert [message["id"] for message in told] == mids[::-1]
    assert [("message" in message) for message in told] == [True, True, False, False]
    times = [message["created_time"] for message in told]
    assert all(later >= earlier for later, earlier in pairwise(times))
    status, answer = await meta.graph(f"{mids[0]}?fields=message")
    assert (status, answer["error"]["code"]) == (400, 100)
