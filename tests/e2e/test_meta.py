"""Messenger and Instagram from the phone to the operator and back, on the whole system."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx2
import pytest
from PIL import Image

from msgkit.testing import demo
from msgkit.testing.phone import Desk, Phone, answer_as_a_service, new_client, until
from msgkit.testing.system import System
from msgkit.testing.window import WindowRefused

Json = dict[str, Any]
MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS
KINDS = ("facebook", "instagram")
AnyPhone = Callable[[str], Phone]


@pytest.fixture
def phone_of(system: System, sandbox: httpx2.AsyncClient) -> AnyPhone:
    """A phone of somebody new, by the messenger."""
    channels = {"facebook": system.facebook["id"], "instagram": system.instagram["id"]}
    return lambda kind: Phone(sandbox, channels[kind], new_client())


@pytest.fixture(params=KINDS)
def phone(request: pytest.FixtureRequest, phone_of: AnyPhone) -> Phone:
    return phone_of(request.param)


async def _bubble(phone: Phone, text: str) -> Json:
    """What the phone shows of the answer with this text."""
    (shown,) = [one for one in await phone.shows() if one["direction"] == "out" and one["text"] == text]
    return dict(shown)


def _ago(milliseconds: int) -> int:
    return int(time.time() * 1000) - milliseconds


async def _files_ready(desk: Desk, conversation: str, count: int) -> list[Json]:
    """The clients' files of a dialogue, once so many are ready."""
    dialogue = desk.window.seen.messages[conversation]

    def ready() -> list[Json] | None:
        files = [f for m in dialogue.values() if m["direction"] == "in" for f in m["attachments"]]
        done = [file for file in files if file["state"] == "ready"]
        return done if len(done) == count else None

    return list(await desk.until(ready, 30))


async def test_a_client_is_answered_and_each_side_sees_what_the_other_read(phone: Phone, olena: Desk) -> None:
    conversation = await olena.wrote(phone, "Добрий день")
    rows = olena.window.seen.rows
    who = await phone.state()
    assert rows[conversation]["channel"]["kind"] == who["messenger"]
    # A webhook does not say who writes: the name comes a moment later.
    await olena.until(lambda: rows[conversation]["contact"]["name"] == who["name"], 30)
    assert rows[conversation]["contact"]["phone"] is None
    if who["messenger"] == "instagram":
        assert rows[conversation]["contact"]["username"] == who["username"]

    answer = await olena.answered(phone, conversation, "Вітаємо, слухаємо вас")
    assert (await _bubble(phone, answer["text"])).get("tag") is None

    async def client_sees_it_read() -> bool:
        return bool((await phone.shows())[0]["state"] == "read")

    await until(client_sees_it_read)
    await phone.do("read")
    await olena.state(answer["text"], "read")
    await olena.until(lambda: rows[conversation]["last_message"]["state"] == "read")
    read = await olena.window.all_messages(conversation)
    # Our own words come back as an echo: they are no second message.
    assert [m["direction"] for m in read if m["direction"] in ("in", "out")] == ["in", "out"]


async def test_what_clients_send_is_seen(phone: Phone, olena: Desk) -> None:
    conversation = await olena.wrote(phone, "Ось")
    messenger = (await phone.state())["messenger"]
    await phone.do("messages", kind="photo", text=f"Така довжина {phone.client}")
    await phone.do("messages", kind="voice")
    await phone.do("messages", kind="sticker")
    if messenger == "facebook":
        await phone.do("messages", kind="location", latitude=50.45, longitude=30.52)
    dialogue = olena.window.seen.messages[conversation]
    assert (await olena.message(f"Така довжина {phone.client}"))["kind"] == "image"
    await _files_ready(olena, conversation, 3)
    # Instagram calls a sticker an image, and knows no places.
    wanted = {"image", "sticker", "location"} if messenger == "facebook" else {"image"}
    await olena.until(lambda: wanted <= {m["kind"] for m in dialogue.values() if m["direction"] == "in"})


async def test_a_story_reply_and_a_mention_show_the_story(phone_of: AnyPhone, olena: Desk) -> None:
    phone = phone_of("instagram")
    conversation = await olena.wrote(phone, "Привіт")
    words = f"Який гарний колір! {phone.client}"
    await phone.do("messages", kind="story_reply", text=words)
    replied = await olena.message(words)
    assert replied["shared_link"]["kind"] == "story_reply"
    await phone.do("messages", kind="story_mention")
    dialogue = olena.window.seen.messages[conversation]

    def mentions() -> list[Json]:
        links = [m["shared_link"] for m in dialogue.values() if m.get("shared_link")]
        return [link for link in links if link["kind"] == "story_mention"]

    await olena.until(mentions)
    # The picture of a story is gone tomorrow: it is with us already.
    assert {file["kind"] for file in await _files_ready(olena, conversation, 2)} == {"image"}


async def test_text_a_photo_and_quick_replies_reach_the_phone(
    system: System, phone: Phone, olena: Desk
) -> None:
    conversation = await olena.wrote(phone, "що є?")
    picture = await olena.window.upload(_png(), "приклад.png")
    words = f"Ось приклад {phone.client}"
    await olena.window.call(
        "POST",
        f"/conversations/{conversation}/messages",
        {"client_msg_id": new_client(), "text": words, "attachments": [picture["id"]]},
    )
    await olena.state(words, "sent", "delivered")
    # The messenger has no captions: the file, then its words.
    assert [b["kind"] for b in await phone.shows() if b["direction"] == "out"] == ["photo", "text"]

    few = [[{"text": title, "action": "callback", "value": title}] for title in ("Ціни", "Запис")]
    await answer_as_a_service(system, conversation, f"Оберіть {phone.client}", few)
    await olena.state(f"Оберіть {phone.client}", "sent", "delivered")
    shown = await _bubble(phone, f"Оберіть {phone.client}")
    assert [reply["text"] for reply in shown["quick_replies"]] == ["Ціни", "Запис"]
    await phone.do("press", text="Ціни")
    dialogue = olena.window.seen.messages[conversation]
    await olena.until(lambda: [m for m in dialogue.values() if (m["direction"], m["text"]) == ("in", "Ціни")])


async def test_words_are_changed_and_taken_back_and_signs_put_on_them(phone: Phone, olena: Desk) -> None:
    conversation = await olena.wrote(phone, "Завтра об 11")
    before = await olena.message(f"Завтра об 11 {phone.client}")
    answer = await olena.answered(phone, conversation, "Записали")
    ours = (await _bubble(phone, answer["text"]))["provider_id"]
    await phone.do("react", emoji="❤️", provider_id=ours)
    await olena.showing(answer["text"], reactions=["❤️"])
    await phone.do("react", emoji="", provider_id=ours)
    await olena.showing(answer["text"], reactions=[])

    first = (await phone.shows())[0]["provider_id"]
    changed = f"Завтра о 12 {phone.client}"
    await phone.do("edit", text=changed, provider_id=first)
    edited = await olena.showing(changed, edited=True)
    assert edited["id"] == before["id"]
    if (await phone.state())["messenger"] == "instagram":
        await phone.do("delete", provider_id=first)
        dialogue = olena.window.seen.messages[conversation]
        await olena.until(lambda: dialogue[before["id"]]["deleted"])
        assert dialogue[before["id"]]["text"] == ""
    await phone.do("messages", text=f"Про це {phone.client}", reply_to=ours)
    assert (await olena.message(f"Про це {phone.client}"))["reply_to"] == answer["id"]


async def test_what_is_typed_in_the_messengers_own_inbox_is_ours_and_the_bot_is_silent_then(
    system: System, phone: Phone, olena: Desk
) -> None:
    channel = system.facebook if (await phone.state())["messenger"] == "facebook" else system.instagram
    path = f"/channels/{channel['id']}"
    await olena.window.call("PATCH", path, {"settings": {"bot_enabled": True}})
    try:
        conversation = await olena.wrote(phone, "Чи є місце на завтра?")
        rows = olena.window.seen.rows
        assert rows[conversation]["handler"] == "bot"
        words = f"Так, о 12:00 {phone.client}"
        await phone.do("inbox", text=words)
        echoed = await olena.message(words)
        assert (echoed["direction"], echoed["author"]["kind"]) == ("out", "operator")
        assert echoed["conversation_id"] == conversation
        await olena.until(lambda: rows[conversation]["handler"] == "operator")
        await olena.answered(phone, conversation, "І ще о 15:00")
        ours = [m["text"] for m in await olena.window.all_messages(conversation) if m["direction"] == "out"]
        assert ours == [words, f"І ще о 15:00 {phone.client}"]
    finally:
        await olena.window.call("PATCH", path, {"settings": {"bot_enabled": False}})


# --- what Meta did not tell us


async def test_what_was_said_while_the_subscription_was_lost_is_found_once_and_in_order(
    system: System, sandbox: httpx2.AsyncClient, phone_of: AnyPhone, olena: Desk
) -> None:
    """Our service is down for «two hours», so Meta takes the app off the page and its Instagram account."""
    page = [phone_of("facebook") for _ in range(5)]
    account = [phone_of("instagram") for _ in range(5)]
    phones = page + account
    conversations = {phone.client: await olena.wrote(phone, "До того") for phone in phones}
    rows = olena.window.seen.rows
    said: dict[str, list[tuple[str, str]]] = {
        phone.client: [("in", f"До того {phone.client}")] for phone in phones
    }
    # What Meta lists afterwards has whole seconds: the next one must have begun.
    heard_at = int(time.time())
    await until(lambda: int(time.time()) > heard_at)
    system.kill("ingest-meta")
    await sandbox.put("/control/pace", json={"retry_divisor": 7200})
    try:
        for turn in range(200 // len(phones)):
            await asyncio.gather(*(phone.do("messages", text=f"{turn} {phone.client}") for phone in phones))
            for phone in phones:
                said[phone.client].append(("in", f"{turn} {phone.client}"))
            if turn == 10:
                for phone in phones:
                    answer = f"відповіли на сторінці {phone.client}"
                    await phone.do("inbox", text=answer)
                    said[phone.client].append(("out", answer))

        async def is_lost() -> bool:
            # One subscription for both: it is the page's.
            told = await sandbox.get(f"/control/meta/{demo.PAGE['page_id']}")
            return bool(told.json()["subscribed_fields"] is None)

        await until(is_lost, 30)
    finally:
        await sandbox.put("/control/pace", json={"retry_divisor": 10})
        system.revive("ingest-meta")
        system.wait_ready()

    async def dialogue(phone: Phone) -> list[tuple[str, str]]:
        read = await olena.window.all_messages(conversations[phone.client])
        return [(m["direction"], m["text"]) for m in read if m["direction"] in ("in", "out")]

    for phone in phones:
        conversation, wanted = conversations[phone.client], said[phone.client]

        async def is_whole(phone: Phone = phone, length: int = len(wanted)) -> bool:
            return len(await dialogue(phone)) >= length

        await until(is_whole, 60)
        assert await dialogue(phone) == wanted, (await phone.state())["messenger"]
        clients = sum(direction == "in" for direction, _ in wanted)

        def is_counted(row: str = conversation, count: int = clients) -> bool:
            return bool(rows[row]["in_seq"] == count)

        await olena.until(is_counted)
    # The subscription holds again, and what was found is not found a second time.
    for phone in (page[0], account[0]):
        await olena.wrote(phone, "Тепер знову чутно")
        await olena.answered(phone, conversations[phone.client], "Чуємо")
        after = [("in", f"Тепер знову чутно {phone.client}"), ("out", f"Чуємо {phone.client}")]
        assert await dialogue(phone) == [*said[phone.client], *after]


# --- until when people may answer


async def _may_answer(phone: Phone, olena: Desk, conversation: str, *, tag: str | None) -> None:
    """An answer goes out now, with this tag."""
    window = (await olena.window.call("GET", f"/conversations/{conversation}"))["window"]
    assert window["open"]
    assert window["until"]
    answer = await olena.answered(phone, conversation, "Відповідаємо")
    assert (await _bubble(phone, answer["text"])).get("tag") == tag


async def _may_not_answer(phone: Phone, olena: Desk, conversation: str) -> None:
    window = (await olena.window.call("GET", f"/conversations/{conversation}"))["window"]
    assert (window["open"], window["code"]) == (False, "window_closed")
    with pytest.raises(WindowRefused) as refused:
        await olena.window.send(conversation, f"Ви ще тут? {phone.client}")
    assert (refused.value.status, refused.value.code) == (409, "window_closed")
    assert refused.value.body["detail"]
    assert await phone.answers() == []


@pytest.mark.parametrize(
    ("age_ms", "tag"),
    [
        (DAY_MS - 3 * MINUTE_MS, None),
        (DAY_MS + MINUTE_MS, "HUMAN_AGENT"),
        (7 * DAY_MS - MINUTE_MS, "HUMAN_AGENT"),
    ],
    ids=["a day less three minutes", "a day and a minute", "six days, 23 hours and 59 minutes"],
)
async def test_an_operator_answers_on_instagram_until_seven_days(
    phone_of: AnyPhone, olena: Desk, age_ms: int, tag: str | None
) -> None:
    phone = phone_of("instagram")
    conversation = await olena.wrote(phone, "Писала давно", sent_at=_ago(age_ms))
    await _may_answer(phone, olena, conversation, tag=tag)


async def test_an_operator_answers_on_instagram_not_a_minute_longer(phone_of: AnyPhone, olena: Desk) -> None:
    phone = phone_of("instagram")
    conversation = await olena.wrote(phone, "Писала давно", sent_at=_ago(7 * DAY_MS + MINUTE_MS))
    await _may_not_answer(phone, olena, conversation)
    await olena.wrote(phone, "Агов")
    await olena.until(lambda: olena.window.seen.rows[conversation]["window"]["open"])
    await _may_answer(phone, olena, conversation, tag=None)


async def test_without_late_answers_it_is_a_day(phone_of: AnyPhone, olena: Desk) -> None:
    within, over = phone_of("facebook"), phone_of("facebook")
    open_ = await olena.wrote(within, "Писала вчора", sent_at=_ago(DAY_MS - MINUTE_MS))
    await _may_answer(within, olena, open_, tag=None)
    closed = await olena.wrote(over, "Писала вчора", sent_at=_ago(DAY_MS + MINUTE_MS))
    await _may_not_answer(over, olena, closed)


@pytest.mark.parametrize("messenger", KINDS)
async def test_late_answers_that_meta_did_not_grant_are_refused_truthfully_and_switched_off(
    system: System, sandbox: httpx2.AsyncClient, messenger: str
) -> None:
    """The salon's page by a switch that somebody put on, the clinic's Instagram as it is by default."""
    login, channel = (
        ("olena", system.facebook) if messenger == "facebook" else ("maria", system.instagram_by_login)
    )
    path = f"/channels/{channel['id']}"
    phone = Phone(sandbox, channel["id"], new_client())
    async with Desk(system, login) as desk:
        await desk.window.call("PATCH", path, {"settings": {"human_agent": True}})
        try:
            conversation = await desk.wrote(phone, "Писала позавчора", sent_at=_ago(2 * DAY_MS))
            rows = desk.window.seen.rows
            await desk.until(lambda: rows[conversation]["window"]["open"])
            words = f"Вибачте, що так довго {phone.client}"
            await desk.window.send(conversation, words)
            failed = await desk.state(words, "failed")
            assert failed["failure"]["code"] == "window_closed"
            assert "Human Agent" in failed["failure"]["text"]
            assert await phone.answers() == []

            async def is_off() -> bool:
                settings = (await desk.window.call("GET", path))["settings"]
                return settings["human_agent"] is False

            await until(is_off)
            await desk.until(lambda: not rows[conversation]["window"]["open"])

            async def is_told() -> bool:
                # While the gap of the account's beginning is read, the health tells of that.
                return "Human Agent" in str((await desk.window.call("GET", f"{path}/health"))["problem"])

            await until(is_told)
            soon = await desk.wrote(phone, "Нічого, я тут")
            await _may_answer(phone, desk, soon, tag=None)
        finally:
            await desk.window.call("PATCH", path, {"settings": {"human_agent": messenger == "instagram"}})


# --- whatever Meta answers

Fault = tuple[Json, str, tuple[str, ...], int]
"""What goes wrong, where, the true states in the end, and how many such answers are on the phone."""
FAULTS: dict[str, Fault] = {
    "asked to wait": ({"kind": "429"}, "facebook", ("delivered", "sent"), 1),
    "broken, Meta says": ({"code": 2, "http_status": 500}, "facebook", ("delivered", "sent"), 1),
    "cannot be reached": ({"code": 551}, "facebook", ("failed",), 0),
    "no such person": ({"code": 100, "subcode": 2018001}, "instagram", ("failed",), 0),
    "taken without an answer": ({"kind": "accept_then_drop"}, "facebook", ("sent", "delivered"), 1),
    "the echo is faster": ({"kind": "slow", "seconds": 1}, "instagram", ("sent",), 1),
}
LATE_FAULTS: dict[str, Fault] = {
    "broken, in nobody's words": ({"kind": "500"}, "instagram", ("unknown",), 0),
    "silence, nothing done": ({"kind": "hang", "seconds": 3}, "facebook", ("unknown",), 0),
    "broken line": ({"kind": "reset"}, "facebook", ("unknown",), 0),
    "taken without an answer, the echo has no mark": (
        {"kind": "accept_then_drop"},
        "instagram",
        ("unknown",),
        1,
    ),
    "too many calls": ({"code": 613}, "instagram by login", ("sent",), 1),
}
"""Those that end half a minute later: an echo may still tell, or Meta wants to be left alone that long."""


@dataclass(frozen=True)
class Faulty:
    """An answer to whose first call something happened."""

    name: str
    phone: Phone
    desk: Desk
    conversation: str
    words: str
    states: tuple[str, ...]
    on_phone: int

    async def ends_truly(self) -> None:
        """Its state is the phone's truth, nothing is there twice, and the next answer goes out."""
        try:
            message = await self.desk.state(self.words, *self.states, seconds=60)
        except TimeoutError as exc:
            found = self.desk.find(self.words) or {}
            raise AssertionError(f"{self.name}: {found.get('state')} {found.get('failure')}") from exc
        assert (message["failure"] is None) == (message["state"] not in ("failed", "unknown")), self.name
        assert len(await self.phone.answers()) == self.on_phone, self.name
        if message["state"] != "failed":
            await self.desk.answered(self.phone, self.conversation, "Далі")
        read = await self.desk.window.all_messages(self.conversation)
        ours = [m["text"] for m in read if m["direction"] == "out"]
        # What nothing proves to be ours is shown beside the answer that is in doubt: see docs/channels.
        shown = 2 if message["state"] == "unknown" and self.on_phone else 1
        assert ours.count(self.words) == shown, self.name


async def _answer_badly(
    faults: dict[str, Fault], sandbox: httpx2.AsyncClient, places: dict[str, tuple[str, Desk]]
) -> list[Faulty]:
    """A new client writes for each fault, and is answered.

    Args:
        places: channel and window, by where a fault happens.
    """
    made = []
    for name, (_, where, states, on_phone) in faults.items():
        channel_id, desk = places[where]
        phone = Phone(sandbox, channel_id, new_client())
        conversation = await desk.wrote(phone, "є хто?")
        made.append(Faulty(name, phone, desk, conversation, f"Так {phone.client}", states, on_phone))
    scripted = [
        {"method": "messages", "client": one.phone.client, "count": 1, **faults[one.name][0]} for one in made
    ]
    armed = await sandbox.put("/control/faults", json={"seed": 1, "faults": scripted})
    assert armed.is_success, armed.text
    for one in made:
        await one.desk.window.send(one.conversation, one.words)
    return made


@pytest.fixture(scope="module", autouse=True)
async def late(system: System, olena: Desk) -> AsyncIterator[list[Faulty]]:
    """Begun before all other tests of this file, which need that half a minute themselves."""
    async with (
        httpx2.AsyncClient(base_url=system.sandbox_url, timeout=30) as http,
        Desk(system, "maria") as maria,
    ):
        places = {
            "facebook": (system.facebook["id"], olena),
            "instagram": (system.instagram["id"], olena),
            "instagram by login": (system.instagram_by_login["id"], maria),
        }
        made = await _answer_badly(LATE_FAULTS, http, places)

        async def have_happened() -> bool:
            entries = (await http.get("/control/ledger", params={"limit": 1000})).json()
            clients = {one.phone.client for one in made}
            return clients == {e["client"] for e in entries if e.get("fault") and e["client"] in clients}

        await until(have_happened)
        yield made


async def test_whatever_meta_answers_the_state_is_true(
    system: System, sandbox: httpx2.AsyncClient, olena: Desk
) -> None:
    places = {"facebook": (system.facebook["id"], olena), "instagram": (system.instagram["id"], olena)}
    for faulty in await _answer_badly(FAULTS, sandbox, places):
        await faulty.ends_truly()


async def test_what_meta_leaves_open_is_unknown_and_what_it_puts_off_is_sent(late: list[Faulty]) -> None:
    for faulty in late:
        await faulty.ends_truly()


def _png() -> bytes:
    buffer = BytesIO()
    Image.radial_gradient("L").convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()
