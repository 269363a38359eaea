"""What the sandbox takes of answers to Messenger and Instagram, and how it refuses: the fact sheet, 2."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from meta_playground import CHANNELS, IG, LOGIN_IG, PAGE, Json, Stage

from sandbox.meta.codes import GraphRefusal
from sandbox.meta.limits import Limits
from sandbox.meta.state import Kind

HOUR = 3600.0
DAY = 24 * HOUR
MINUTE = 60.0
TAGGED: Json = {"messaging_type": "MESSAGE_TAG", "tag": "HUMAN_AGENT"}
ALL = (PAGE, IG, LOGIN_IG)
JPEG = b"\xff\xd8\xff\xe0" + bytes(64) + b"\xff\xd9"


def _attachment(kind: str, **payload: Any) -> Json:
    return {"attachment": {"type": kind, "payload": payload}}


def _quick(count: int, title: str = "Так", payload: str = "Y") -> Json:
    one = {"content_type": "text", "title": title, "payload": payload}
    return {"text": "Оберіть", "quick_replies": [one] * count}


def _template(count: int = 1, text: str = "Оберіть", title: str = "Так") -> Json:
    button = {"type": "postback", "title": title, "payload": "Y"}
    return _attachment("template", template_type="button", text=text, buttons=[button] * count)


# --- windows, by real clocks


@pytest.mark.parametrize("account", [PAGE, IG])
@pytest.mark.parametrize(
    ("age", "body", "refused"),
    [
        (DAY - MINUTE, {}, False),
        (DAY + MINUTE, {}, True),
        (DAY + MINUTE, {"messaging_type": "UPDATE"}, True),
        (DAY + MINUTE, TAGGED, False),
        (7 * DAY - MINUTE, TAGGED, False),
        (7 * DAY + MINUTE, TAGGED, True),
    ],
)
async def test_windows_end_by_the_clock(
    meta: Stage, account: str, age: float, body: Json, refused: bool
) -> None:
    at = int((time.time() - age) * 1000)
    await meta.writes("olena", account, text="давно", sent_at=at)
    if refused:
        expected = (10, 2018278) if account == PAGE else (10, 2534022)
        assert await meta.refused("olena", account, **body) == expected
        assert len(await meta.shows("olena", account)) == 1
    else:
        await meta.sent("olena", account, **body)
    assert await meta.ledger(method="policy_violation") == []


async def test_a_window_opens_again_with_a_new_message_and_never_by_an_old_one(meta: Stage) -> None:
    await meta.writes(seconds_ago=DAY + 1)
    assert await meta.refused() == (10, 2018278)
    await meta.writes()
    await meta.writes(seconds_ago=3 * DAY)
    await meta.sent()
    await meta.act("olena", "wait", hours=24)
    assert await meta.refused() == (10, 2018278)
    await meta.act("olena", "react", emoji="👍")
    await meta.sent()


async def test_a_tag_inside_24_hours_is_taken_and_written_down(meta: Stage) -> None:
    await meta.writes()
    mid = await meta.sent(**TAGGED)
    (violation,) = await meta.ledger(method="policy_violation")
    assert (violation["channel_id"], violation["message_id"]) == (CHANNELS[PAGE], mid)


async def test_human_agent_that_nobody_granted_is_refused_without_a_subcode(meta: Stage) -> None:
    await meta.writes("olena", LOGIN_IG, seconds_ago=2 * DAY)
    assert await meta.refused("olena", LOGIN_IG, **TAGGED) == (10, None)
    await meta.dashboard(LOGIN_IG, human_agent=True)
    await meta.sent("olena", LOGIN_IG, **TAGGED)
    await meta.writes(seconds_ago=2 * DAY)
    await meta.dashboard(human_agent=False)
    assert await meta.refused(**TAGGED) == (10, None)


@pytest.mark.parametrize(
    "body",
    [
        {"messaging_type": "MESSAGE_TAG", "tag": "ACCOUNT_UPDATE"},
        {"messaging_type": "MESSAGE_TAG", "tag": "CONFIRMED_EVENT_UPDATE"},
        {"messaging_type": "MESSAGE_TAG", "tag": "POST_PURCHASE_UPDATE"},
        {"messaging_type": "MESSAGE_TAG"},
        {"messaging_type": "RESPONSE", "tag": "HUMAN_AGENT"},
        {"messaging_type": "SOMETHING"},
    ],
)
async def test_retired_tags_and_wrong_types_are_bad_parameters(meta: Stage, body: Json) -> None:
    await meta.writes()
    assert await meta.refused(**body) == (100, None)


# --- what a message may hold


LIMITS: tuple[tuple[str, Json, bool], ...] = (
    (PAGE, {"text": "я" * 2000}, True),
    (PAGE, {"text": "я" * 2001}, False),
    (IG, {"text": "я" * 500}, True),
    (IG, {"text": "я" * 500 + "a"}, False),
    (IG, {"text": "a" * 1001}, False),
    (LOGIN_IG, {"text": "🙂" * 250}, True),
    (LOGIN_IG, {"text": "🙂" * 251}, False),
    (PAGE, {"text": "  "}, False),
    (PAGE, {}, False),
    (PAGE, {"text": "a", **_template()}, False),
    (PAGE, _quick(13), True),
    (PAGE, _quick(14), False),
    (IG, _quick(13), True),
    (PAGE, _quick(1, "я" * 20), True),
    (PAGE, _quick(1, "я" * 21), False),
    (PAGE, _quick(1, payload="p" * 1000), True),
    (PAGE, _quick(1, payload="p" * 1001), False),
    (PAGE, {"text": "Номер?", "quick_replies": [{"content_type": "user_phone_number"}]}, True),
    (IG, {"text": "Номер?", "quick_replies": [{"content_type": "user_phone_number"}]}, False),
    (PAGE, _template(3), True),
    (PAGE, _template(4), False),
    (PAGE, _template(0), False),
    (PAGE, _template(text="я" * 640), True),
    (PAGE, _template(text="я" * 641), False),
    (PAGE, _template(title="я" * 21), False),
    (IG, {"attachment": {"type": "like_heart"}}, True),
    (PAGE, {"attachment": {"type": "like_heart"}}, False),
    (PAGE, {"text": "a", "metadata": "m" * 1000}, True),
    (PAGE, {"text": "a", "metadata": "m" * 1001}, False),
)
"""To which account, what, and whether it is taken."""


async def test_limits(meta: Stage) -> None:
    for account in ALL:
        await meta.writes("olena", account)
    for account, message, is_taken in LIMITS:
        status, answer = await meta.send("olena", account, message=message)
        assert (status == 200) == is_taken, (account, message, answer)
        if not is_taken:
            assert answer["error"]["code"] == 100
    for account in ALL:
        taken = sum(is_taken for name, _, is_taken in LIMITS if name == account)
        assert len(await meta.shows("olena", account)) == 1 + taken


async def test_files_come_by_address_by_form_and_by_id(meta: Stage) -> None:
    await meta.writes()
    await meta.writes("olena", IG)
    url = meta.edge.serve("i.jpg", JPEG, "image/jpeg")
    await meta.sent(message=_attachment("image", url=url, is_reusable=True))
    echo = (await meta.edge.until(meta.edge.echoes))[-1]["message"]
    async with meta.http.get(echo["attachments"][0]["payload"]["url"]) as answer:
        assert await answer.read() == JPEG
    form = aiohttp.FormData()
    form.add_field("message", '{"attachment":{"type":"image","payload":{"is_reusable":true}}}')
    form.add_field("filedata", JPEG, filename="i.jpg", content_type="image/jpeg")
    uploaded = (await meta.good(f"{PAGE}/message_attachments", data=form))["attachment_id"]
    await meta.sent(message=_attachment("image", attachment_id=uploaded))
    await meta.sent(message=_attachment("image", attachment_id=int(uploaded)))
    # An upload for Messenger is none for Instagram.
    gone = _attachment("image", attachment_id=uploaded)
    assert await meta.refused("olena", IG, message=gone) == (100, 2018074)
    asked = {"platform": "instagram", "message": _attachment("image", url=url, is_reusable=True)}
    own = (await meta.good(f"{PAGE}/message_attachments", asked))["attachment_id"]
    await meta.sent("olena", IG, message=_attachment("image", attachment_id=own))
    await meta.dashboard(expire_attachments=True)
    assert await meta.refused(message=gone) == (100, 2018074)
    shown = [one["kind"] for one in await meta.shows()]
    assert shown == ["text", "photo", "photo", "photo"]


@pytest.mark.parametrize(
    ("account", "kind", "name", "mime", "size", "expected"),
    [
        (PAGE, "image", "i.jpg", "image/jpeg", 8 * 1024 * 1024 + 1, (100, 2018109)),
        (PAGE, "video", "v.mp4", "video/mp4", 25 * 1024 * 1024 + 1, (100, 2018109)),
        (IG, "file", "t.txt", "text/plain", 10, (100, 2018047)),
        (IG, "file", "t.pdf", "application/pdf", 10, None),
        (PAGE, "file", "t.txt", "text/plain", 10, None),
        (IG, "audio", "a.ogg", "audio/ogg", 10, (100, 2018047)),
        (IG, "audio", "a.m4a", "audio/mp4", 10, None),
        (IG, "image", "i.webp", "image/webp", 10, (100, 2018047)),
        (PAGE, "image", "t.pdf", "application/pdf", 10, (100, 2018047)),
    ],
)
async def test_files_are_refused_by_size_and_type(
    meta: Stage, account: str, kind: str, name: str, mime: str, size: int, expected: tuple[int, int] | None
) -> None:
    await meta.writes("olena", account)
    message = _attachment(kind, url=meta.edge.serve(name, bytes(size), mime))
    if expected is None:
        await meta.sent("olena", account, message=message)
    else:
        assert await meta.refused("olena", account, message=message) == expected


async def test_an_address_that_gives_nothing_is_refused(meta: Stage) -> None:
    await meta.writes()
    nothing = _attachment("image", url="http://127.0.0.1:9/i.jpg")
    assert await meta.refused(message=nothing) == (100, 2018008)


async def test_sender_actions_are_sent_alone(meta: Stage) -> None:
    mid = (await meta.writes())["message"]["mid"]
    recipient = await meta.contact()
    for action in ("typing_on", "typing_off", "mark_seen"):
        status, answer = await meta.send(sender_action=action)
        assert (status, answer) == (200, {"recipient_id": recipient})
    assert (await meta.shows())[0]["state"] == "read"
    for payload in ({"message_id": mid, "reaction": "😊"}, {"message_id": mid}):
        action = "react" if "reaction" in payload else "unreact"
        assert (await meta.send(sender_action=action, payload=payload))[0] == 200
    status, answer = await meta.send(sender_action="typing_on", messaging_type="RESPONSE")
    assert (status, answer["error"]["code"]) == (400, 100)
    assert (await meta.send(sender_action="dance"))[0] == 400
    assert meta.edge.echoes() == []
    hers = (await meta.writes("olena", LOGIN_IG))["message"]["mid"]
    for reaction, status in (("love", 200), ("😊", 400)):
        payload = {"message_id": hers, "reaction": reaction}
        assert (await meta.send("olena", LOGIN_IG, sender_action="react", payload=payload))[0] == status


# --- who may be written to


async def test_people_who_cannot_be_reached(meta: Stage) -> None:
    await meta.writes()
    await meta.act("olena", "block")
    assert await meta.refused() == (551, None)
    await meta.act("olena", "unblock")
    await meta.act("olena", "deactivate")
    assert await meta.refused() == (10, 2018108)
    await meta.act("olena", "activate")
    await meta.sent()
    unknown: Json = {"recipient": {"id": "6000000000000001"}, "message": {"text": "a"}}
    assert await meta.error(f"{PAGE}/messages", unknown) == (400, 100, 2018001)
    wrongs: tuple[Json, ...] = ({}, {"recipient": {}}, {"recipient": {"id": ""}})
    for wrong in wrongs:
        assert await meta.error(f"{PAGE}/messages", {**wrong, "message": {"text": "a"}}) == (400, 100, None)
    # Somebody of the page's is nobody of Instagram Login.
    foreign = {"recipient": {"id": await meta.contact()}, "message": {"text": "a"}}
    assert await meta.error(f"{LOGIN_IG}/messages", foreign, account=LOGIN_IG) == (400, 100, 2018001)


async def test_messages_go_through_me_too(meta: Stage) -> None:
    for account in ALL:
        await meta.writes("olena", account)
        body = {"recipient": {"id": await meta.contact("olena", account)}, "message": {"text": "a"}}
        assert "message_id" in await meta.good("me/messages", body, account=account)


async def test_without_the_permission_everything_is_refused(meta: Stage) -> None:
    await meta.writes()
    await meta.dashboard(permissions=False)
    assert await meta.refused() == (200, None)


@pytest.mark.parametrize(("kind", "allowed"), [("facebook", 300), ("instagram", 100)])
def test_so_many_in_a_second_and_no_more(kind: Kind, allowed: int) -> None:
    now = 1000.0
    limits = Limits(kind, lambda: now)
    for _ in range(allowed):
        limits.take_send()
    with pytest.raises(GraphRefusal) as refused:
        limits.take_send()
    assert (refused.value.code, refused.value.subcode) == (613, 2534040)
    now += 1.0
    limits.take_send()


# --- scripted


ERRORS: tuple[tuple[int, int | None, int], ...] = (
    (190, 458, 401), (190, 460, 401), (190, 463, 401), (190, 467, 401), (0, None, 401), (3, None, 403),
    (10, None, 403), (10, 2018278, 403), (10, 2018065, 403), (10, 2534022, 403), (200, 1545041, 403),
    (551, 1545041, 400), (551, None, 400), (10, 2018108, 403), (10, 2018300, 403), (10, 2018321, 403),
    (200, 2018028, 403), (200, 2534048, 403), (10, 2534048, 403), (299, None, 403), (100, 2018001, 400),
    (100, 33, 400), (100, 2018109, 400), (100, 2018074, 400), (100, 2018008, 400), (100, 2018047, 400),
    (100, 2018294, 400), (100, None, 400), (1, None, 500), (2, None, 500), (1200, None, 500),
    (4, None, 400), (9, None, 400), (17, None, 400), (32, None, 400), (613, None, 400),
    (613, 2534040, 400), (80006, None, 400), (80002, None, 400), (368, None, 403), (230, None, 403),
    (9010, None, 400),
)  # fmt: skip
"""Code, subcode and HTTP status of every row of the sheet's table."""


async def test_every_row_of_the_table_of_errors_can_be_played(meta: Stage) -> None:
    await meta.writes()
    for code, subcode, status in ERRORS:
        fault = {"code": code, "method": "messages", "channel_id": CHANNELS[PAGE]}
        await meta.faults(fault if subcode is None else {**fault, "subcode": subcode})
        got, answer = await meta.send()
        error = answer["error"]
        assert (got, error["code"], error.get("error_subcode")) == (status, code, subcode)
        is_transient = code in (1, 2, 1200, 4, 9, 17, 32, 613, 80006, 80002)
        assert error.get("is_transient", False) == is_transient, code
        assert {"message", "type", "fbtrace_id"} <= error.keys()
    assert len(await meta.shows()) == 1


async def test_the_echo_may_come_before_the_answer_and_the_answer_never(meta: Stage) -> None:
    await meta.writes()
    echoed = asyncio.Event()

    async def answer(payload: Json) -> web.Response:
        if any(item.get("message", {}).get("is_echo") for item in payload["entry"][0]["messaging"]):
            echoed.set()
        return web.Response()

    meta.edge.answer = answer
    await meta.faults({"kind": "slow", "method": "messages", "seconds": 0.3})
    sending = asyncio.ensure_future(meta.sent())
    await asyncio.wait_for(echoed.wait(), 10)
    assert not sending.done()
    await sending
    await meta.faults({"kind": "accept_then_drop", "method": "messages"})
    with pytest.raises(aiohttp.ClientError):
        await meta.send(message={"text": "губиться", "metadata": "mark"})
    echo = (await meta.edge.until(meta.edge.echoes, 2))[-1]["message"]
    assert echo["metadata"] == "mark"
    await meta.faults({"kind": "reset", "method": "messages"})
    with pytest.raises(aiohttp.ClientError):
        await meta.send()
    await meta.faults({"kind": "502"})
    async with meta.http.post(
        f"{meta.url}/graph-meta/v25.0/me/messages",
        headers={"Authorization": "Bearer EAAGpageToken0123456789"},
    ) as got:
        assert (got.status, got.content_type) == (502, "text/plain")
    assert len(await meta.shows()) == 3


async def test_usage_is_told_in_a_header(meta: Stage) -> None:
    await meta.writes()
    headers = {"Authorization": "Bearer EAAGpageToken0123456789"}
    for faults, percent, minutes in (
        ([], 1, 0),
        ([{"kind": "usage", "percent": 95, "minutes": 3}], 95, 3),
        ([{"code": 613, "minutes": 5}], 100, 5),
    ):
        await meta.faults(*faults)
        async with meta.http.get(f"{meta.url}/graph-meta/v25.0/me", headers=headers) as answer:
            usage = answer.headers["X-Business-Use-Case-Usage"]
        assert f'"call_count": {percent},' in usage
        assert f'"estimated_time_to_regain_access": {minutes}' in usage
        assert PAGE in usage
