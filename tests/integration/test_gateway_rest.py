"""The public REST API of the real process: who may what, what is refused, and the headers of every answer."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio
from gateway_stage import TELEGRAM, VIBER, Stage, stage

from msgkit.contracts.ids import new_id
from msgkit.contracts.topology import ANNOUNCEMENT_KEY, PRESENCE
from msgkit.runtime.bus import Outgoing
from msgkit.testing.servers import VirtualHosts, drop_databases

pytestmark = pytest.mark.servers

API = "/api/v1"


@pytest_asyncio.fixture(scope="module")
async def on(
    tmp_path_factory: pytest.TempPathFactory, vhosts: VirtualHosts, mongo_url: str
) -> AsyncIterator[Stage]:
    prefix = "tgwrest_"
    folder = tmp_path_factory.mktemp("gateway")
    static = folder / "static"
    (static / "assets").mkdir(parents=True)
    (static / "index.html").write_text("<!doctype html><title>Чати</title>")
    (static / "assets" / "app-123.js").write_text("export const chats = 1;" * 200)
    with vhosts.fresh() as amqp_url:
        async with stage(folder, amqp_url, mongo_url, prefix, ROZMOVA_STATIC_DIR=str(static)) as ready:
            yield ready
    drop_databases(mongo_url, prefix)


async def _bearer(on: Stage, login: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {await on.gateway.login(login)}"}


async def test_bootstrap_says_who_i_am_and_from_where_to_follow(on: Stage) -> None:
    answer = await on.gateway.http.get(f"{API}/bootstrap", headers=await _bearer(on, "ivan"))
    body = answer.json()
    assert body["me"] == {
        "id": "u-ivan", "name": "Ivan", "roles": ["reception"], "tenant": {"id": "salon", "title": "Салон"}
    }  # fmt: skip
    assert [channel["id"] for channel in body["channels"]] == [TELEGRAM]
    assert body["epoch"] == on.inbox.epoch
    assert isinstance(body["pos"], int)
    assert body["settings"] == {"sound": True, "theme": "auto", "send_key": "enter"}


CLOSED_DOORS = [
    ("GET", "/bootstrap"), ("GET", "/channels"), ("GET", "/channel-kinds"), ("POST", "/channels"),
    ("GET", "/channels/x"), ("PATCH", "/channels/x"), ("DELETE", "/channels/x"),
    ("GET", "/channels/x/health"), ("GET", "/channels/x/templates"), ("POST", "/channels/x/rotate-secret"),
    ("GET", "/conversations"), ("GET", "/conversations/x"), ("GET", "/conversations/x/messages"),
    ("GET", "/conversations/x/requests"), ("POST", "/conversations/x/messages"),
    ("POST", "/conversations/x/read"), ("POST", "/conversations/x/status"),
    ("POST", "/conversations/x/claim"), ("POST", "/conversations/x/takeover"),
    ("POST", "/conversations/x/assign"), ("POST", "/conversations/x/release"),
    ("POST", "/conversations/x/return-to-bot"), ("POST", "/conversations/x/unread"),
    ("POST", "/conversations/x/typing"),
    ("POST", "/messages/x/retry"), ("POST", "/messages/x/resolve"), ("DELETE", "/messages/x"),
    ("GET", "/messages/x/trail"), ("POST", "/uploads"), ("GET", "/media/x/url"),
    ("POST", "/ws-ticket"), ("GET", "/me/settings"), ("PATCH", "/me/settings"), ("GET", "/users"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), CLOSED_DOORS)
async def test_nothing_without_a_token(on: Stage, method: str, path: str) -> None:
    for header in ({}, {"Authorization": "Bearer x"}, {"Authorization": "Basic b2xlbmE6eA=="}):
        answer = await on.gateway.http.request(method, API + path, headers=header, json={})
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"


async def test_every_route_is_on_the_list_above(on: Stage) -> None:
    """A new route without a test of its door fails here."""
    open_ = {("POST", "/auth/login"), ("POST", "/auth/refresh"), ("POST", "/auth/logout")}
    paths = (await on.gateway.http.get("/openapi.json")).json()["paths"]
    routes = {
        (
            method.upper(),
            re.sub(r"\{[a-z]+_id\}", "x", path.removeprefix(API)),
        )
        for path, operations in paths.items()
        for method in operations
    }
    assert routes - open_ == set(CLOSED_DOORS)


@pytest.mark.parametrize("path", ["/bootstrap", "/conversations", "/conversations/x", "/users"])
async def test_without_a_channel_there_is_no_access(on: Stage, path: str) -> None:
    answer = await on.gateway.http.get(API + path, headers=await _bearer(on, "nobody"))
    assert (answer.status_code, answer.json()["code"]) == (403, "no_access")


async def test_channels_are_shown_by_role(on: Stage) -> None:
    async def shown(login: str) -> list[dict[str, Any]]:
        answer = await on.gateway.http.get(f"{API}/channels", headers=await _bearer(on, login))
        found: list[dict[str, Any]] = answer.json()
        return found

    admin, reception, viber_only = [await shown(login) for login in ("olena", "ivan", "viktor")]
    assert [[c["id"] for c in found] for found in (admin, reception, viber_only)] == [
        [TELEGRAM, VIBER], [TELEGRAM], [VIBER]
    ]  # fmt: skip
    assert "settings" in admin[0]
    assert not {"settings", "credentials_hint", "webhook_url"} & reception[0].keys()


async def test_what_is_not_mine_does_not_exist(on: Stage) -> None:
    missing = await on.gateway.http.get(f"{API}/channels/{new_id()}", headers=await _bearer(on, "ivan"))
    forbidden = await on.gateway.http.get(f"{API}/channels/{VIBER}", headers=await _bearer(on, "ivan"))
    foreign = await on.gateway.http.get(f"{API}/channels/{TELEGRAM}", headers=await _bearer(on, "maria"))
    assert missing.status_code == 404
    assert missing.content == forbidden.content == foreign.content


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/channels"), ("PATCH", f"/channels/{TELEGRAM}"), ("DELETE", f"/channels/{TELEGRAM}")],
)
async def test_only_an_administrator_changes_channels(on: Stage, method: str, path: str) -> None:
    body = {"kind": "telegram_bot", "title": "x", "credentials": {}} if method == "POST" else {"title": "x"}
    answer = await on.gateway.http.request(method, API + path, headers=await _bearer(on, "ivan"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/auth/login", {"login": "olena", "password": "x", "tenant": "clinic"}),
        ("POST", "/auth/login", {"login": {"$ne": None}, "password": {"$ne": None}}),
        ("POST", "/auth/login", ["olena"]),
        (
            "POST",
            "/channels",
            {"kind": "telegram_bot", "title": "x", "credentials": {}, "tenant_id": "clinic"},
        ),
        ("POST", "/channels", {"kind": "telegram_bot", "title": "x", "credentials": {"token": None}}),
        ("POST", "/channels", {"kind": "../x", "title": "x", "credentials": {}}),
        ("PATCH", f"/channels/{TELEGRAM}", {"id": "other"}),
        ("PATCH", f"/channels/{TELEGRAM}", {"settings": {"roles": ["admin"], "owner": "x"}}),
        ("PATCH", f"/channels/{TELEGRAM}", {"settings": {"auto_close_hours": 10**9}}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "text": "x", "author": "olena"}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "text": "x", "seen_n": 2**60}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "a b", "text": "x"}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "text": "x" * 20_001}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "attachments": ["u"] * 11}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "attachments": [{"key": "k"}]}),
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "attachments": [None]}),
        # Buttons are for services: the public call does not know them.
        ("POST", "/conversations/x/messages", {"client_msg_id": "12345678", "text": "x", "buttons": []}),
        ("POST", "/conversations/x/assign", {"user_id": {"$ne": None}}),
        ("POST", "/conversations/x/assign", {"user_id": "u-ivan", "name": "Olena"}),
        ("POST", "/conversations/x/unread", {"n": 0}),
        ("POST", "/messages/x/resolve", {"as": "read"}),
        ("POST", "/messages/x/retry", {"author": "x"}),
        ("POST", "/conversations/x/read", {"n": -1}),
        ("POST", "/conversations/x/status", {"status": "deleted"}),
        ("PATCH", "/me/settings", {"theme": "neon"}),
        ("PATCH", "/me/settings", {"roles": ["admin"]}),
        ("POST", "/ws-ticket", {"user_id": "u-ivan"}),
    ],
    ids=str,
)
async def test_what_is_not_in_the_contract_is_refused(
    on: Stage, method: str, path: str, body: object
) -> None:
    answer = await on.gateway.http.request(method, API + path, headers=await _bearer(on, "olena"), json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")


@pytest.mark.parametrize(
    "path",
    [
        "/conversations/a%20b", "/conversations/%2e%2e%2fx", "/conversations?limit=1000000",
        "/conversations?list=all", "/conversations?channel[$ne]=x&list=$ne", "/channels/%00",
    ],
)  # fmt: skip
async def test_ids_and_queries_are_words_only(on: Stage, path: str) -> None:
    answer = await on.gateway.http.get(API + path, headers=await _bearer(on, "olena"))
    assert answer.status_code in (404, 422)


async def test_a_refusal_does_not_repeat_what_was_sent(on: Stage) -> None:
    secret = "canary-5551234567"
    answer = await on.gateway.http.post(f"{API}/auth/login", json={"login": 1, "password": [secret]})
    assert answer.status_code == 422
    assert secret not in answer.text


async def test_a_large_body_is_not_read(on: Stage) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", on.gateway.port)
    head = f"POST {API}/auth/login HTTP/1.1\r\nHost: x\r\nContent-Length: {256 * 1024 + 1}\r\n\r\n"
    writer.write(head.encode())
    assert (await reader.readline()).split()[1] == b"413"
    writer.close()


async def test_my_settings_are_mine(on: Stage) -> None:
    olena, ivan = await _bearer(on, "olena"), await _bearer(on, "ivan")
    changed = await on.gateway.http.patch(f"{API}/me/settings", headers=olena, json={"sound": False})
    assert changed.json() == {"sound": False, "theme": "auto", "send_key": "enter"}
    assert (await on.gateway.http.get(f"{API}/me/settings", headers=olena)).json() == changed.json()
    assert (await on.gateway.http.get(f"{API}/me/settings", headers=ivan)).json()["sound"] is True


async def test_colleagues_are_of_my_tenant(on: Stage) -> None:
    users = (await on.gateway.http.get(f"{API}/users", headers=await _bearer(on, "maria"))).json()
    assert users == {"items": [{"id": "u-maria", "name": "Maria"}]}


async def test_the_cookie_is_for_the_auth_alone(on: Stage) -> None:
    answer = await on.gateway.http.post(
        f"{API}/auth/login", json={"login": "olena", "password": "correct horse battery"}
    )
    cookie = answer.headers["set-cookie"].lower()
    assert all(part in cookie for part in ("httponly", "samesite=lax", "path=/api/v1/auth", "max-age=43200"))
    assert "expires_in" in answer.json()
    refreshed = await on.gateway.http.post(f"{API}/auth/refresh", json={})
    assert refreshed.status_code == 200
    assert refreshed.headers["set-cookie"] != answer.headers["set-cookie"]
    foreign = await on.gateway.http.post(f"{API}/auth/refresh", headers={"Origin": "http://evil.example"})
    assert (foreign.status_code, foreign.json()["code"]) == (403, "foreign_origin")
    on.gateway.http.cookies.clear()


async def test_the_window_is_served_with_a_strict_policy(on: Stage) -> None:
    page = await on.gateway.http.get("/")
    assert (page.status_code, page.headers["cache-control"]) == (200, "no-cache")
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert not {"unsafe-inline", "unsafe-eval", "*"} & set(policy.replace("'", " ").split())
    asset = await on.gateway.http.get("/assets/app-123.js")
    assert "immutable" in asset.headers["cache-control"]
    assert asset.headers["content-encoding"] == "gzip"
    missing = await on.gateway.http.get("/assets/nope.js")
    assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-store")
    for path in ("/..%2fusers.json", "/assets/../../users.json", "/%2e%2e/users.json"):
        assert (await on.gateway.http.get(path)).status_code in (404, 400)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/openapi.json", "/api/v1/bootstrap", "/nope", "/health/live"]
)
async def test_every_answer_has_the_headers(on: Stage, path: str) -> None:
    headers = (await on.gateway.http.get(path)).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "server" not in headers
    if path.startswith("/api"):
        assert headers["cache-control"] == "no-store"


async def test_the_docs_list_the_operations_without_scripts(on: Stage) -> None:
    page = await on.gateway.http.get("/docs")
    assert "/api/v1/conversations" in page.text
    assert "<script" not in page.text


async def test_the_public_side_shows_no_metrics(on: Stage) -> None:
    for path in ("/metrics", "/internal/live", "/debug"):
        assert (await on.gateway.http.get(path)).status_code == 404


async def test_a_connector_that_announces_itself_is_a_kind(on: Stage) -> None:
    for body in (b"garbage", b"{}"):
        await on.publisher.publish(
            Outgoing(PRESENCE, ANNOUNCEMENT_KEY, body, new_id(), ANNOUNCEMENT_KEY, persistent=False)
        )
    await on.announce("telegram_bot")
    bearer = await _bearer(on, "olena")
    kinds: list[dict[str, Any]] = []
    while not kinds:
        kinds = await on.kinds(bearer)
    assert [(kind["kind"], kind["available"], kind["limits"]) for kind in kinds] == [
        ("telegram_bot", True, {"text": 4096})
    ]
    channels = (await on.gateway.http.get(f"{API}/bootstrap", headers=bearer)).json()["channels"]
    assert (channels[0]["limits"], channels[0]["limit_units"]) == ({"text": 4096}, {"text": "utf16_units"})

    wanted = {"kind": "telegram_bot", "title": "Бот", "credentials": {"token": "123456:canary"}}
    answer = await on.gateway.http.post(f"{API}/channels", headers=bearer, json=wanted)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    unknown = await on.gateway.http.post(f"{API}/channels", headers=bearer, json=wanted | {"kind": "icq"})
    assert (unknown.status_code, unknown.json()["code"]) == (422, "unknown_kind")
    assert "canary" not in on.gateway.process.log_tail(10_000)


async def test_an_address_is_what_a_proxy_of_ours_says_and_nobody_else(on: Stage) -> None:
    """Whoever writes X-Forwarded-For of themselves has one address, however many they name."""
    limits = {
        "ROZMOVA_TRUSTED_PROXIES": '["127.0.0.1/32"]',
        "ROZMOVA_LOGIN_PER_MINUTE_ADDRESS": "3",
        "ROZMOVA_LOGIN_PER_MINUTE_ACCOUNT": "100",
    }
    async with on.gateway.twin(**limits) as twin:

        async def tries(peer: str, hops: list[str]) -> set[int]:
            transport = httpx2.AsyncHTTPTransport(local_address=peer)
            async with httpx2.AsyncClient(base_url=twin.url, transport=transport) as http:
                return {
                    (
                        await http.post(
                            f"{API}/auth/login",
                            json={"login": f"nobody{hop}", "password": "wrong"},
                            headers={"X-Forwarded-For": f"1.1.1.1, {hop}"},
                        )
                    ).status_code
                    for hop in hops
                }

        different = [f"203.0.113.{n}" for n in range(8)]
        assert await tries("127.0.0.1", different) == {401}
        assert await tries("127.0.0.2", different) == {401, 429}
        assert await tries("127.0.0.1", ["203.0.113.99"] * 8) == {401, 429}
        account = {"login": "olena", "password": "correct horse battery"}
        over_tls = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.200"}
        answer = await twin.http.post(f"{API}/auth/login", json=account, headers=over_tls)
        assert "; Secure" in answer.headers["set-cookie"]
        assert "strict-transport-security" in answer.headers


async def test_limits_per_user(tmp_path: Path, amqp_url: str, mongo_url: str, mongo_prefix: str) -> None:
    limits = {"ROZMOVA_REST_PER_S_USER": "2", "ROZMOVA_TICKETS_PER_MINUTE_USER": "4"}
    async with stage(tmp_path, amqp_url, mongo_url, mongo_prefix, **limits) as on:
        olena, ivan = await _bearer(on, "olena"), await _bearer(on, "ivan")
        answers = [await on.gateway.http.get(f"{API}/me/settings", headers=olena) for _ in range(14)]
        assert answers[0].status_code == 200
        assert (answers[-1].status_code, answers[-1].headers["retry-after"]) == (429, "1")
        assert (await on.gateway.http.get(f"{API}/me/settings", headers=ivan)).status_code == 200
