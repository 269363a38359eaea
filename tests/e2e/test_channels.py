"""A channel's life while messages run: secret, token, switch, removal; and creations that were killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from msgkit.testing.demo import BOTS
from msgkit.testing.phone import Desk, Phone, new_client, until
from msgkit.testing.system import System
from msgkit.testing.window import WindowRefused

pytestmark = pytest.mark.timeout(240)

say = print  # shown with `-s` and beside a failure
Json = dict[str, Any]
CLIENTS = 12
PER_CLIENT = 15
RATE_PER_S = 12.0
"""A burst lasts as long as the changes do."""


@pytest.fixture(scope="module")
def own(servers_folder: Path) -> Iterator[System]:
    """A system of its own, with two connectors: what one of them changes the other must know in time."""
    system = System(
        servers_folder / "channels",
        replicas={"ingest-telegram": 2},
        environment={"ROZMOVA_HEALTH_EVERY_S": "0.5"},
    )
    try:
        system.start()
        yield system
    finally:
        system.stop()


@pytest.fixture
async def sandbox(own: System) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=own.sandbox_url, timeout=30) as http:
        yield http
        await http.put("/control/faults", json={"seed": 0, "faults": []})


@pytest.fixture
async def olena(own: System) -> AsyncIterator[Desk]:
    async with Desk(own, "olena") as desk:
        yield desk


class Burst:
    """Clients of one channel who write all the time."""

    def __init__(self, http: httpx2.AsyncClient, channel: str, desk: Desk) -> None:
        self._http = http
        self._channel = channel
        self._desk = desk
        self.prefix = f"b{uuid4().hex[:8]}"
        self._id = ""

    async def start(self) -> None:
        body = {
            "clients": CLIENTS,
            "messages_per_client": PER_CLIENT,
            "rate_per_s": RATE_PER_S,
            "text_prefix": self.prefix,
            "client_prefix": self.prefix,
        }
        started = await self._http.post(f"/control/{self._channel}/burst", json=body)
        assert started.status_code == 202, started.text
        self._id = started.json()["id"]

    async def _is_acked(self) -> bool:
        progress = (await self._http.get(f"/control/burst/{self._id}")).json()
        assert progress["dropped"] == 0
        return bool(progress["acked"] == progress["planned"])

    async def until_seen(self) -> None:
        """Every message was taken and stands in the window, once and in order."""
        await until(self._is_acked, 90)
        wanted = {
            f"{self.prefix}{client}": [
                f"{self.prefix} {self.prefix}{client} {number}" for number in range(1, PER_CLIENT + 1)
            ]
            for client in range(CLIENTS)
        }
        await self._desk.until(lambda: self._seen() == wanted, 60)

    def _seen(self) -> dict[str, list[str]]:
        seen = self._desk.window.seen
        found: dict[str, list[str]] = {}
        for conversation in seen.messages:
            texts = [text for text in seen.texts(conversation, "in") if text.startswith(f"{self.prefix} ")]
            if texts:
                found[texts[0].split()[1]] = texts
        return found

    async def refused(self) -> list[Json]:
        """Webhooks that were answered with 403 or 404."""
        entries = (await self._http.get("/control/ledger", params={"limit": 10_000})).json()
        return [
            entry
            for entry in entries
            if entry["type"] == "webhook"
            and (entry["client"] or "").startswith(self.prefix)
            and entry["status"] in {403, 404}
        ]


async def show(desk: Desk, channel: str) -> Json:
    return dict(await desk.window.call("GET", f"/channels/{channel}"))


async def until_channel(desk: Desk, channel: str, **wanted: Any) -> Json:
    async def as_wanted() -> Json | None:
        shown = await show(desk, channel)
        return shown if wanted.items() <= shown.items() else None

    return dict(await until(as_wanted, 20))


async def test_secret_token_and_switch_change_while_messages_run(
    own: System, sandbox: httpx2.AsyncClient, olena: Desk
) -> None:
    channel = own.channels["salon"]["id"]
    phone = Phone(sandbox, channel, new_client())
    await phone.write(f"питання {phone.client}")
    conversation = (await olena.message(f"питання {phone.client}"))["conversation_id"]
    burst = Burst(sandbox, channel, olena)
    await burst.start()
    answers: list[str] = []

    async def answer(text: str) -> None:
        answers.append(f"{text} {phone.client}")
        await olena.window.send(conversation, answers[-1])

    async def hook() -> str:
        return str((await sandbox.get(f"/control/{channel}/webhook")).json()["secret_token"])

    first = await hook()
    began = time.monotonic()
    health = await olena.window.call("POST", f"/channels/{channel}/rotate-secret")
    assert (health["connected"], health["receiving"]) == (True, "webhook")
    assert await hook() != first
    rotated_s = time.monotonic() - began
    await answer("після секрету")

    # Ordered while the token still works and sent when it does no more: throttled in between.
    throttle = {"kind": "429", "method": "sendMessage", "count": 1, "retry_after": 3}
    (await sandbox.put("/control/faults", json={"faults": [throttle]})).raise_for_status()
    await answer("чекає на токен")
    token = (await sandbox.post(f"/control/{channel}/revoke-token", json={})).json()["token"]
    broken = await until_channel(olena, channel, connected=False)
    assert "@BotFather" in broken["problem"]
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("PATCH", f"/channels/{channel}", {"credentials": {"token": "1:" + "x" * 35}})
    assert refused.value.status == 422
    other = {"credentials": {"token": BOTS["clinic"]["token"]}}
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("PATCH", f"/channels/{channel}", other)
    assert (refused.value.status, refused.value.code) == (409, "other_account")
    changed = await olena.window.call("PATCH", f"/channels/{channel}", {"credentials": {"token": token}})
    assert (changed["connected"], changed["credentials_hint"]) == (True, f"…{token[-4:]}")
    await olena.until(lambda: (olena.find(answers[-1]) or {}).get("state") == "sent", 30)

    off = await olena.window.call("PATCH", f"/channels/{channel}", {"enabled": False})
    assert (off["state"], off["connected"]) == ("disabled", False)
    body = {"client_msg_id": uuid4().hex, "text": "ні", "force": True}
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", f"/conversations/{conversation}/messages", body)
    assert (refused.value.status, refused.value.code) == (409, "channel_disconnected")
    assert (await sandbox.get(f"/control/{channel}/webhook")).status_code == 409, "no webhook is left"
    on = await olena.window.call("PATCH", f"/channels/{channel}", {"enabled": True})
    assert (on["state"], on["connected"], on["problem"]) == ("active", True, None)
    await answer("після вимкнення")

    await burst.until_seen()
    assert await burst.refused() == []
    await olena.until(lambda: (olena.find(answers[-1]) or {}).get("state") == "sent", 30)
    assert await phone.answers() == answers
    say(f"{CLIENTS * PER_CLIENT} messages, 0 lost, 0 refused; the secret changed in {rotated_s:.1f} s")


async def test_a_webhook_taken_from_outside_comes_back_and_is_no_news_twice(
    own: System, sandbox: httpx2.AsyncClient, olena: Desk
) -> None:
    channel, token = own.channels["clinic"]["id"], BOTS["clinic"]["token"]
    async with Desk(own, "maria") as maria:
        url = (await show(maria, channel))["webhook_url"]

        async def registered() -> str:
            answer = await sandbox.get(f"/control/{channel}/webhook")
            return str(answer.json().get("url", ""))

        async def is_ours() -> bool:
            return bool(await registered() == url)

        await sandbox.post(f"/bot{token}/deleteWebhook", json={})
        await until(is_ours, 20)
        theirs = {"url": f"{own.sandbox_url}/elsewhere"}
        await sandbox.post(f"/bot{token}/setWebhook", json=theirs)
        broken = await until_channel(maria, channel, connected=False)
        assert broken["problem"]
        assert await registered() == theirs["url"], "we do not fight for it"
        mended = await maria.window.call("PATCH", f"/channels/{channel}", {"enabled": True})
        assert (mended["connected"], mended["problem"]) == (True, None)
        assert await is_ours()


async def test_a_removed_channel_leaves_its_dialogues_and_its_bot_may_come_again(
    own: System, sandbox: httpx2.AsyncClient
) -> None:
    channel, token = own.channels["clinic"]["id"], BOTS["clinic"]["token"]
    async with Desk(own, "maria") as maria:
        phone = Phone(sandbox, channel, new_client())
        await phone.write(f"було {phone.client}")
        conversation = (await maria.message(f"було {phone.client}"))["conversation_id"]
        limited = {"kind": "429", "method": "sendMessage", "retry_after": 600, "count": 1}
        await sandbox.put("/control/faults", json={"faults": [limited]})
        await maria.window.send(conversation, f"не встигне {phone.client}")

        assert await maria.window.call("DELETE", f"/channels/{channel}") is None
        with pytest.raises(WindowRefused) as refused:
            await show(maria, channel)
        assert refused.value.status == 404
        assert (await sandbox.get(f"/control/{channel}/webhook")).status_code == 409, "no webhook is left"
        failed = await maria.until(
            lambda: (m := maria.find(f"не встигне {phone.client}")) and m["state"] == "failed" and m, 20
        )
        assert failed["failure"]["code"] == "channel_disconnected"
        page = await maria.window.call("GET", f"/conversations/{conversation}/messages")
        assert [m["text"] for m in page["items"] if m["direction"] == "in"] == [f"було {phone.client}"]
        body = {"client_msg_id": uuid4().hex, "text": "ні", "force": True}
        with pytest.raises(WindowRefused) as refused:
            await maria.window.call("POST", f"/conversations/{conversation}/messages", body)
        assert (refused.value.status, refused.value.code) == (409, "channel_disconnected")

        await phone.write(f"між каналами {phone.client}")
        again = await maria.window.call("POST", "/channels", _wanted(own, token))
        assert again["id"] != channel
        between = await maria.message(f"між каналами {phone.client}", 30)
        assert between["conversation_id"] != conversation
        own.channels["clinic"] = again


def _wanted(own: System, token: str) -> Json:
    return {
        "kind": "telegram_bot",
        "title": "Знову",
        "credentials": {"token": token},
        "api_base": own.sandbox_url,
        "settings": {"commands": [{"command": "price", "description": "Ціни"}]},
    }


async def test_a_creation_whose_gateway_was_killed_blocks_nobody(
    own: System, sandbox: httpx2.AsyncClient
) -> None:
    """Killed while the messenger is asked to register the webhook; the next start settles what was left."""
    token = BOTS["clinic"]["token"]
    async with Desk(own, "maria") as maria:
        await maria.window.call("DELETE", f"/channels/{own.channels['clinic']['id']}")
        hang = {"kind": "hang", "method": "setWebhook", "seconds": 5, "count": 1}
        await sandbox.put("/control/faults", json={"faults": [hang]})
        creating = asyncio.ensure_future(maria.window.call("POST", "/channels", _wanted(own, token)))

        async def is_hanging() -> bool:
            faults = (await sandbox.get("/control/faults")).json()["faults"]
            return any(fault["fired"] for fault in faults)

        await until(is_hanging, 20)
        await asyncio.to_thread(own.kill, "gateway")
        with pytest.raises(httpx2.TransportError):
            await creating
        await asyncio.to_thread(own.revive, "gateway")
        await asyncio.to_thread(own.wait_ready)

    async with Desk(own, "maria") as maria:

        async def created() -> Json | None:
            try:
                return dict(await maria.window.call("POST", "/channels", _wanted(own, token)))
            except WindowRefused as exc:
                # Until the sweep has been there, the half of it holds the account; never for ever.
                if exc.code not in {"already_connected", "unknown_kind", "connector_away"}:
                    raise
                return None

        channel = await until(created, 60)
        shown = await maria.window.call("GET", "/channels")
        assert [view["id"] for view in shown] == [channel["id"]]
        phone = Phone(sandbox, channel["id"], new_client())
        await phone.write(f"усе гаразд {phone.client}")
        await maria.message(f"усе гаразд {phone.client}", 30)
        own.channels["clinic"] = channel


BAD: list[tuple[Json, int]] = [
    ({"titel": "x"}, 422),
    ({"title": ""}, 422),
    ({"api_base": "http://evil.example"}, 422),
    ({"enabled": "так"}, 422),
    ({"credentials": {"token": "x" * 5000}}, 422),
    ({"credentials": {"password": "x"}}, 422),
    ({"credentials": {"token": ""}}, 422),
    ({"settings": {"commands": [{"command": "Велика!", "description": "x"}]}}, 422),
    ({"settings": {"commands": [{"command": "ok", "description": ""}]}}, 422),
    ({"settings": {"commands": [{"command": "ok", "description": "x", "icon": "y"}]}}, 422),
]


async def test_bad_changes_change_nothing_and_say_why(own: System, olena: Desk) -> None:
    channel = own.channels["salon"]["id"]
    before = await show(olena, channel)
    for body, status in BAD:
        with pytest.raises(WindowRefused) as refused:
            await olena.window.call("PATCH", f"/channels/{channel}", body)
        assert refused.value.status == status, body
        assert refused.value.body["detail"], body
        assert "x" * 100 not in str(refused.value.body), body
    evil = _wanted(own, "7000000009:" + "x" * 35) | {"api_base": "http://evil.example"}
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", "/channels", evil)
    assert (refused.value.status, refused.value.code) == (422, "api_base_not_allowed")
    with pytest.raises(WindowRefused) as refused:
        await olena.window.call("POST", "/channels", _wanted(own, "7000000009:" + "x" * 35))
    assert refused.value.status == 422
    assert "Unauthorized" in refused.value.body["detail"]
    assert await show(olena, channel) == before


@pytest.mark.parametrize(("login", "status"), [("ivan", 403), ("maria", 404)])
async def test_only_the_tenants_administrator_changes_a_channel(own: System, login: str, status: int) -> None:
    channel = own.channels["salon"]["id"]
    async with Desk(own, login) as desk:
        for method, path, body in (
            ("PATCH", f"/channels/{channel}", {"enabled": False}),
            ("POST", f"/channels/{channel}/rotate-secret", None),
            ("DELETE", f"/channels/{channel}", None),
        ):
            with pytest.raises(WindowRefused) as refused:
                await desk.window.call(method, path, body)
            assert refused.value.status == status
