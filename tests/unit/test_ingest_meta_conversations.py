"""What the Conversations API tells of missed messages: as webhooks, once, in order, page by page."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from meta_graph import BY_LOGIN, BY_PAGE, IG, IGSID, NOW, PAGE, PAGE_ACCOUNT, PSID, Hands, asked, refusal
from meta_talk import request

from ingest_meta.client import GraphClient
from ingest_meta.conversations import Place, first_place, read_cursor, time_of, to_bodies
from ingest_meta.flavours import Flavour, flavour_of
from ingest_meta.inbound import to_parsed
from msgkit.connector.contract import Account
from msgkit.connector.errors import CredentialsInvalid, MessageRejected, ProviderUnavailable, Throttled
from msgkit.contracts.events import MessageEchoed, MessageReceived
from msgkit.contracts.words import MessageKind
from msgkit.runtime.objects import ObjectStore
from msgkit.testing.wire import Answer, Call, WireFake, as_json

SINCE = NOW - timedelta(hours=2)
CDN = "https://scontent.xx.fbcdn.net/v/t1.15752-9/"


def at(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S+0000")


def told(
    mid: str, moment: datetime = NOW, sender: str = PSID, to: str = PAGE, /, **more: Any
) -> dict[str, Any]:
    """A message as the API tells it."""
    people = {"from": {"id": sender}, "to": {"data": [{"id": to}]}}
    return {"id": mid, "created_time": at(moment), **people, **more}


def said(*messages: dict[str, Any], account: Account = PAGE_ACCOUNT) -> list[dict[str, Any]]:
    """The elements of `messaging` they become."""
    found = to_bodies(flavour_of(account), account.account_id, {account.account_id, PAGE}, messages)
    made = [json.loads(body) for body in found]
    assert all(one["entry"][0]["id"] == account.account_id for one in made)
    return [element for one in made for element in one["entry"][0]["messaging"]]


def content(**more: Any) -> dict[str, Any]:
    """The `message` of a client's message on a page."""
    ((element),) = said(told("m_1", **more))
    assert element["message"].pop("mid") == "m_1"
    return dict(element["message"])


# --- translation


def test_clients_message_is_the_webhook_it_would_have_been() -> None:
    assert [
        json.loads(body) for body in to_bodies(Flavour.PAGE, PAGE, {PAGE}, [told("m_1", message="Добрий")])
    ] == [
        {
            "object": "page",
            "entry": [
                {
                    "id": PAGE,
                    "time": int(NOW.timestamp() * 1000),
                    "messaging": [
                        {
                            "sender": {"id": PSID},
                            "recipient": {"id": PAGE},
                            "timestamp": int(NOW.timestamp() * 1000),
                            "message": {"mid": "m_1", "text": "Добрий"},
                        }
                    ],
                }
            ],
        }
    ]


@pytest.mark.parametrize(
    ("account", "ours", "client"),
    [(PAGE_ACCOUNT, PAGE, PSID), (BY_PAGE, IG, IGSID), (BY_PAGE, PAGE, IGSID), (BY_LOGIN, IG, IGSID)],
)
def test_our_own_is_an_echo_to_the_client(account: Account, ours: str, client: str) -> None:
    ((element),) = said(told("m_1", NOW, ours, client, message="Так"), account=account)
    assert (element["sender"], element["recipient"]) == ({"id": account.account_id}, {"id": client})
    assert element["message"] == {"mid": "m_1", "text": "Так", "is_echo": True}


def test_oldest_comes_first_and_the_order_of_one_second_stays() -> None:
    newest_first = [
        told("m_4", NOW),
        told("m_3", NOW),
        told("m_2", NOW - timedelta(seconds=9)),
        told("m_1", SINCE),
    ]
    assert [element["message"]["mid"] for element in said(*newest_first)] == ["m_1", "m_2", "m_3", "m_4"]


def test_long_page_is_several_webhooks() -> None:
    made = to_bodies(Flavour.PAGE, PAGE, {PAGE}, [told(f"m_{n}", message="x") for n in range(120)])
    assert [len(json.loads(body)["entry"][0]["messaging"]) for body in made] == [50, 50, 20]


@pytest.mark.parametrize(
    ("attachment", "expected"),
    [
        ({"mime_type": "image/jpeg", "image_data": {"url": f"{CDN}a.jpg"}}, ("image", f"{CDN}a.jpg")),
        ({"image_data": {"url": f"{CDN}s.png", "render_as_sticker": True}}, ("sticker", f"{CDN}s.png")),
        ({"mime_type": "video/mp4", "video_data": {"url": f"{CDN}v.mp4"}}, ("video", f"{CDN}v.mp4")),
        ({"mime_type": "audio/mp4", "file_url": f"{CDN}a.mp4"}, ("audio", f"{CDN}a.mp4")),
        ({"mime_type": "application/pdf", "file_url": f"{CDN}b.pdf"}, ("file", f"{CDN}b.pdf")),
        ({"file_url": f"{CDN}b"}, ("file", f"{CDN}b")),
    ],
)
def test_attachments(attachment: dict[str, Any], expected: tuple[str, str]) -> None:
    made = content(message="Ось", attachments={"data": [attachment]})
    assert made == {"text": "Ось", "attachments": [{"type": expected[0], "payload": {"url": expected[1]}}]}


def test_sticker_told_twice_is_one() -> None:
    url = f"{CDN}sticker.png"
    made = content(sticker=url, attachments={"data": [{"image_data": {"url": url}}]})
    assert made == {"attachments": [{"type": "sticker", "payload": {"url": url}}]}


def test_shares_and_stories() -> None:
    shares = {"data": [{"link": "https://www.instagram.com/p/1/", "name": "Допис"}]}
    payload = {"url": "https://www.instagram.com/p/1/", "title": "Допис"}
    assert content(shares=shares) == {"attachments": [{"type": "fallback", "payload": payload}]}
    ((element),) = said(told("m_1", NOW, IGSID, IG, shares=shares), account=BY_PAGE)
    assert element["message"]["attachments"] == [{"type": "share", "payload": payload}]
    story = {"id": "180", "link": "https://lookaside.fbsbx.com/x"}
    assert content(message="Так", story={"reply_to": story}) == {
        "text": "Так",
        "reply_to": {"story": {"id": "180", "url": story["link"]}},
    }
    mention = {"type": "story_mention", "payload": {"url": story["link"]}}
    assert content(story={"mention": story}) == {"attachments": [mention]}


@pytest.mark.parametrize(
    "odd",
    [
        {}, {"attachments": None}, {"attachments": {"data": [None, {}, {"image_data": []}]}}, {"message": ""},
        {"shares": {"data": [{}]}}, {"story": []}, {"sticker": 5},
    ],
)  # fmt: skip
def test_message_of_which_nothing_is_told_does_not_vanish(odd: dict[str, Any]) -> None:
    assert content(**odd) == {"is_unsupported": True}


@pytest.mark.parametrize(
    "odd",
    [
        {"id": None}, {"created_time": None}, {"created_time": "yesterday"}, {"from": None},
        {"from": {"id": ""}}, {"from": {"id": PAGE}, "to": {"data": []}}, {"from": {"id": PAGE}, "to": None},
    ],
)  # fmt: skip
def test_message_of_nobody_is_left_out(odd: dict[str, Any]) -> None:
    assert said({**told("m_1", message="x"), **odd}) == []


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        ("2026-11-22T12:00:00+0000", 1795348800000), ("2026-11-22T14:00:00+02:00", 1795348800000),
        (1795348800, 1795348800000), ("2026-11-22T12:00:00", None), ("", None), (None, None), ({}, None),
    ],
)  # fmt: skip
def test_times(written: object, ms: int | None) -> None:
    assert time_of(written) == ms


def test_recalled_messages_are_understood_and_have_the_ids_of_webhooks() -> None:
    photo = {"mime_type": "image/jpeg", "image_data": {"url": f"{CDN}a.jpg"}}
    (body,) = to_bodies(
        Flavour.PAGE,
        PAGE,
        {PAGE},
        [
            told("m_2", NOW, PAGE, PSID, message="Так"),
            told("m_1", message="Ось", attachments={"data": [photo]}),
        ],
    )
    received, echoed = to_parsed(request(body), PAGE_ACCOUNT).events
    assert isinstance(received, MessageReceived)
    assert (received.provider_id, received.content.kind) == ("m_1", MessageKind.IMAGE)
    assert isinstance(echoed, MessageEchoed)
    live = {
        "sender": {"id": PSID}, "recipient": {"id": PAGE}, "timestamp": 1795348800123,
        "message": {"mid": "m_1", "text": "Ось"},
    }  # fmt: skip
    heard = {"object": "page", "entry": [{"id": PAGE, "time": 1, "messaging": [live]}]}
    (event,) = to_parsed(request(json.dumps(heard).encode()), PAGE_ACCOUNT).events
    assert event.event_id == received.event_id


# --- reading


@dataclass
class Inboxes:
    """The Conversations API, with pages; newest first as Meta does it."""

    chats: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """By conversation, its messages oldest first."""
    details: int = 10_000
    """How many of the newest messages of a conversation are told in full."""
    script: list[Answer] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    """What happens before each call is answered."""
    wire: WireFake = field(init=False)

    def __post_init__(self) -> None:
        self.wire = WireFake(self.respond)

    def respond(self, call: Call) -> Answer:
        if self.before:
            self.before.pop(0)()
        if self.script:
            return self.script.pop(0)
        query, step = asked(call), call.path.partition("?")[0].rpartition("/")[2]
        if step == "conversations":
            listed = sorted(self.chats, key=lambda key: self.chats[key][-1]["created_time"], reverse=True)
            keys = [f"{self.chats[key][-1]['created_time']}~{key}" for key in listed]
            page, paging = self._page(keys, query.get("after"), int(query["limit"]))
            data = [{"id": key.split("~")[1], "updated_time": key.split("~")[0]} for key in page]
            return as_json({"data": data, "paging": paging})
        if step in self.chats:
            asked_for = re.fullmatch(
                r"messages\.limit\((\d+)\)(?:\.after\(([^)]+)\))?\{.*\}", query["fields"]
            )
            assert asked_for is not None
            known = self.chats[step]
            mids = [one["id"] for one in reversed(known)]
            page, paging = self._page(mids, asked_for[2], int(asked_for[1]))
            whole = set(mids[: self.details])
            data = [
                one if one["id"] in whole else self._bare(one)
                for mid in page
                for one in known
                if one["id"] == mid
            ]
            return as_json({"messages": {"data": data, "paging": paging}, "id": step})
        found = [one for known in self.chats.values() for one in known if one["id"] == step]
        return as_json(found[0]) if found else refusal(100, 33)

    def _bare(self, one: dict[str, Any]) -> dict[str, Any]:
        return {"id": one["id"], "created_time": one["created_time"]}

    def _page(self, keys: list[str], after: str | None, limit: int) -> tuple[list[str], dict[str, Any]]:
        start = keys.index(after) + 1 if after in keys else 0
        page = keys[start : start + limit]
        paging: dict[str, Any] = {"cursors": {"after": page[-1]}} if page else {}
        if start + limit < len(keys):
            paging["next"] = "https://evil.example/"
        return page, paging

    def write(self, chat: str, mid: str, moment: datetime = NOW, **more: Any) -> None:
        self.chats.setdefault(chat, []).append(told(mid, moment, f"67{chat[2:]}", PAGE, message=mid, **more))


@pytest_asyncio.fixture
async def inboxes() -> AsyncIterator[Inboxes]:
    inboxes = Inboxes()
    await inboxes.wire.start()
    yield inboxes
    await inboxes.wire.stop()


@pytest_asyncio.fixture
async def client(inboxes: Inboxes, tmp_path: Path) -> AsyncIterator[GraphClient]:
    objects = ObjectStore((tmp_path / "objects").as_uri())
    hands, url = Hands(), inboxes.wire.url
    client = GraphClient(objects, url, url, clock=hands.clock, recalls_per_second=10_000)
    yield client
    await client.aclose()


async def read(client: GraphClient, account: Account = PAGE_ACCOUNT, *, crash_after: int = -1) -> list[str]:
    """All that was missed, as `conversation:mid` in the order it is told; a crash repeats one step."""
    found: list[str] = []
    cursor: str | None = None
    for step in range(2_000):
        page = await client.recall(SINCE, cursor, account)
        for body in page.bodies:
            for element in json.loads(body)["entry"][0]["messaging"]:
                found.append(f"{element['sender']['id']}:{element['message']['mid']}")
        if page.cursor is None:
            return found
        cursor = cursor if step == crash_after else page.cursor
    raise AssertionError("it does not end")


async def test_two_hundred_messages_of_ten_clients_once_and_in_order(
    client: GraphClient, inboxes: Inboxes
) -> None:
    for n in range(200):
        inboxes.write(f"t_{n % 10}", f"m_{n}", SINCE + timedelta(seconds=10 + n))
    for n in range(60):
        inboxes.write(f"t_o{n}", f"m_old{n}", SINCE - timedelta(days=1 + n))
    found = await read(client)
    assert len(found) == len(set(found)) == 200
    for chat in range(10):
        mine = [int(one.partition(":m_")[2]) for one in found if one.startswith(f"67{chat}:")]
        assert mine == sorted(mine)
        assert len(mine) == 20
    lists = [call for call in inboxes.wire.calls if "/conversations" in call.path]
    assert asked(lists[0]) == {"platform": "messenger", "fields": "id,updated_time", "limit": "25"}
    # Newest first, so what is older than the gap ends each pass.
    assert len(lists) == 2


async def test_conversation_that_is_gone_costs_no_other(client: GraphClient, inboxes: Inboxes) -> None:
    for n in range(3):
        inboxes.write(f"t_{n}", f"m_{n}", SINCE + timedelta(seconds=10 + n))
    # After it was listed the client took it away.
    inboxes.before = [lambda: None, lambda: inboxes.chats.pop("t_2")]
    assert await read(client) == ["671:m_1", "670:m_0"]


@pytest.mark.parametrize("crash_after", [0, 1, 5, 11])
async def test_crash_costs_one_step(client: GraphClient, inboxes: Inboxes, crash_after: int) -> None:
    for n in range(60):
        inboxes.write(f"t_{n % 10}", f"m_{n}", SINCE + timedelta(seconds=10 + n))
    found = await read(client, crash_after=crash_after)
    assert len(set(found)) == 60
    assert len(found) <= 66


@pytest.mark.parametrize("details", [10_000, 20])
async def test_long_conversation_is_told_from_its_start(
    client: GraphClient, inboxes: Inboxes, details: int
) -> None:
    inboxes.details = details
    inboxes.write("t_1", "m_before", SINCE - timedelta(seconds=5))
    for n in range(330):
        inboxes.write("t_1", f"m_{n}", SINCE + timedelta(seconds=n))
    found = await read(client)
    assert list(dict.fromkeys(found)) == [f"671:m_{n}" for n in range(330)]


async def test_conversation_that_moves_to_the_front_while_we_read_is_not_missed(
    client: GraphClient, inboxes: Inboxes
) -> None:
    for n in range(40):
        inboxes.write(f"t_{n}", f"m_{n}", NOW - timedelta(minutes=n + 1))

    def moves() -> None:
        # On the second page of the list, and gone from it before we read that page.
        inboxes.write("t_39", "m_live", NOW + timedelta(seconds=1))

    inboxes.before = [lambda: None, lambda: None, moves]
    found = await read(client)
    assert {f"67{n}:m_{n}" for n in range(40)} <= set(found)


async def test_instagram_is_asked_for_its_own(client: GraphClient, inboxes: Inboxes) -> None:
    inboxes.write("t_1", "m_1")
    for account, node in ((BY_PAGE, PAGE), (BY_LOGIN, IG)):
        page = await client.recall(SINCE, None, account)
        assert page.cursor is not None
        call = inboxes.wire.calls[-1]
        assert call.path.startswith(f"/v25.0/{node}/conversations?platform=instagram&")
        (body,) = (await client.recall(SINCE, page.cursor, account)).bodies
        assert json.loads(body)["object"] == "instagram"


async def test_nothing_missed_costs_two_calls(client: GraphClient, inboxes: Inboxes) -> None:
    inboxes.write("t_1", "m_old", SINCE - timedelta(days=3))
    assert await read(client) == []
    assert len(inboxes.wire.calls) == 2


async def test_message_that_is_not_told_is_left_out(client: GraphClient, inboxes: Inboxes) -> None:
    inboxes.details = 1
    inboxes.write("t_1", "m_1", NOW - timedelta(minutes=5))
    inboxes.write("t_1", "m_2", NOW - timedelta(minutes=4))
    page = await client.recall(SINCE, None, PAGE_ACCOUNT)
    inboxes.before = [lambda: None, lambda: inboxes.script.append(refusal(100, 33))]
    page = await client.recall(SINCE, page.cursor, PAGE_ACCOUNT)
    (body,) = page.bodies
    assert [one["message"]["mid"] for one in json.loads(body)["entry"][0]["messaging"]] == ["m_2"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refusal(613), Throttled),
        (refusal(2), ProviderUnavailable),
        (Answer(does="drop"), ProviderUnavailable),
        (refusal(190), CredentialsInvalid),
        (refusal(10), MessageRejected),
        (refusal(200), MessageRejected),
    ],
)
async def test_reading_that_is_refused(
    client: GraphClient, inboxes: Inboxes, answer: Answer, error: type[Exception]
) -> None:
    inboxes.script = [answer]
    with pytest.raises(error):
        await client.recall(SINCE, None, PAGE_ACCOUNT)


@pytest.mark.parametrize("odd", [{}, {"data": 5}, {"data": [None, {"id": ""}]}, {"paging": {"next": "x"}}])
async def test_odd_lists_end(client: GraphClient, inboxes: Inboxes, odd: dict[str, Any]) -> None:
    inboxes.script = [as_json(odd) for _ in range(10)]
    assert await read(client) == []
    assert len(inboxes.wire.calls) <= 4


async def test_two_calls_a_second(inboxes: Inboxes, tmp_path: Path) -> None:
    objects, url = ObjectStore((tmp_path / "objects").as_uri()), inboxes.wire.url
    client = GraphClient(objects, url, url, recalls_per_second=20)
    for n in range(4):
        inboxes.write(f"t_{n}", f"m_{n}", datetime.now(UTC) - timedelta(minutes=9))
    await read(client)
    times = [call.at for call in inboxes.wire.calls]
    # The whole of it: on a busy machine one may arrive late and the next one on time.
    assert times[-1] - times[0] > 0.8 * (len(times) - 1) / 20
    await client.aclose()


def test_places_survive_the_cursor() -> None:
    place = replace(
        first_place(SINCE, NOW), todo=("t_1",), starts=("", "x"), fresh=(("t_1", 5),), after="a", newest=7
    )
    assert read_cursor(place.to_cursor()) == place
    for odd in ("", "x", "[]", "{}", '{"began":"x"}', json.dumps({"began": 1})):
        assert read_cursor(odd) is None
    assert isinstance(read_cursor(Place(1, 2).to_cursor()), Place)
