"""Nobody sees what is not theirs: other tenants' and forbidden roles' ids answer as if they did not exist."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass

import httpx2
import pytest

from msgkit.testing.phone import Desk, Phone, new_client
from msgkit.testing.system import System
from msgkit.testing.window import Window, WindowRefused


@dataclass(frozen=True)
class Theirs:
    """Ids of the salon, which the clinic must not see."""

    channel: str
    conversation: str
    message: str
    attachment: str


@pytest.fixture(scope="module")
async def theirs(system: System) -> AsyncIterator[Theirs]:
    channel = system.channels["salon"]["id"]
    async with httpx2.AsyncClient(base_url=system.sandbox_url) as sandbox, Desk(system, "olena") as olena:
        phone = Phone(sandbox, channel, new_client())
        await phone.write(f"таємниця {phone.client}")
        message = await olena.message(f"таємниця {phone.client}")
        # A file of the salon's own answer: read by the same road as those of clients.
        conversation = message["conversation_id"]
        brought = await olena.window.upload(b"%PDF-1.7\n", "прайс.pdf")
        body = {"client_msg_id": new_client(), "attachments": [brought["id"]], "force": True}
        answer = await olena.window.call("POST", f"/conversations/{conversation}/messages", body)
        yield Theirs(channel, conversation, message["id"], answer["attachments"][0]["id"])


ROUTES = [
    ("GET", "/channels/{channel}", None),
    ("PATCH", "/channels/{channel}", {"title": "моє"}),
    ("DELETE", "/channels/{channel}", None),
    ("GET", "/channels/{channel}/health", None),
    ("GET", "/channels/{channel}/templates", None),
    ("POST", "/channels/{channel}/rotate-secret", {}),
    ("GET", "/conversations/{conversation}", None),
    ("GET", "/conversations/{conversation}/messages", None),
    ("GET", "/conversations/{conversation}/requests", None),
    ("POST", "/conversations/{conversation}/messages", {"client_msg_id": "isolation-1", "text": "привіт"}),
    (
        "POST",
        "/conversations/{conversation}/messages",
        {"client_msg_id": "isolation-2", "template": {"name": "hello_world", "language": "en_US"}},
    ),
    ("POST", "/conversations/{conversation}/read", {"n": 1}),
    ("POST", "/conversations/{conversation}/status", {"status": "closed"}),
    ("POST", "/conversations/{conversation}/claim", {}),
    ("POST", "/conversations/{conversation}/takeover", {}),
    ("POST", "/conversations/{conversation}/assign", {"user_id": "u-maria"}),
    ("POST", "/conversations/{conversation}/release", {}),
    ("POST", "/conversations/{conversation}/return-to-bot", {}),
    ("POST", "/conversations/{conversation}/unread", {"n": 1}),
    ("POST", "/conversations/{conversation}/typing", {}),
    ("POST", "/messages/{message}/retry", {}),
    ("POST", "/messages/{message}/resolve", {"as": "sent"}),
    ("DELETE", "/messages/{message}", None),
    ("GET", "/messages/{message}/trail", None),
    ("GET", "/media/{attachment}/url", None),
]


@pytest.mark.parametrize(("method", "path", "body"), ROUTES, ids=lambda v: v if isinstance(v, str) else "")
async def test_another_tenants_ids_do_not_exist(
    system: System, theirs: Theirs, method: str, path: str, body: dict[str, object] | None
) -> None:
    maria = system.account("maria")
    window = Window(system.gateway_url, maria.login, maria.password)
    refusals = []
    for ids in (vars(theirs), dict.fromkeys(vars(theirs), "0" * 32)):
        with pytest.raises(WindowRefused) as refused:
            await window.call(method, path.format(**ids), body)
        refusals.append((refused.value.status, refused.value.body))
    await window.aclose()
    assert refusals[0][0] == 404
    assert refusals[0] == refusals[1], "a foreign id and an unknown id must answer alike"


async def test_every_route_with_an_id_is_in_the_table_above(system: System) -> None:
    async with httpx2.AsyncClient(base_url=system.gateway_url) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    with_ids = {
        (method.upper(), path.removeprefix("/api/v1"))
        for path, operations in paths.items()
        for method in operations
        if "{" in path
    }
    known = {(method, re.sub(r"\{[^}]*\}", "{}", path)) for method, path, _ in ROUTES}
    unknown = {(m, re.sub(r"\{[^}]*\}", "{}", p)) for m, p in with_ids} - known
    assert not unknown, "add these to ROUTES, so that their isolation is tested"


@pytest.mark.parametrize("login", ["viktor", "nobody"])
async def test_a_role_without_the_channel_gets_nothing(system: System, theirs: Theirs, login: str) -> None:
    account = system.account(login)
    window = Window(system.gateway_url, account.login, account.password)
    for path in ("/bootstrap", "/conversations", f"/conversations/{theirs.conversation}"):
        with pytest.raises(WindowRefused) as refused:
            await window.call("GET", path)
        assert refused.value.status in {403, 404}
    await window.aclose()


async def test_the_other_tenants_socket_hears_nothing(system: System) -> None:
    async with (
        httpx2.AsyncClient(base_url=system.sandbox_url) as sandbox,
        Desk(system, "maria") as maria,
        Desk(system, "olena") as olena,
    ):
        salon = Phone(sandbox, system.channels["salon"]["id"], new_client())
        clinic = Phone(sandbox, system.channels["clinic"]["id"], new_client())
        await salon.write(f"салон {salon.client}")
        await clinic.write(f"клініка {clinic.client}")
        seen_by_olena = await olena.message(f"салон {salon.client}")
        await olena.window.send(seen_by_olena["conversation_id"], f"відповідь {salon.client}")
        await olena.message(f"відповідь {salon.client}")
        await maria.message(f"клініка {clinic.client}")
        assert maria.find(f"салон {salon.client}") is None
        assert maria.find(f"відповідь {salon.client}") is None
        assert olena.find(f"клініка {clinic.client}") is None
        ours = {system.channels["clinic"]["id"]}
        assert {row["channel"]["id"] for row in maria.window.seen.rows.values()} <= ours


async def test_nothing_secret_is_in_any_log_or_trace(system: System) -> None:
    """The canary: tokens, texts and phones never reach logs or traces, whatever happened so far."""
    async with httpx2.AsyncClient(base_url=system.sandbox_url) as sandbox, Desk(system, "olena") as olena:
        phone = Phone(sandbox, system.channels["salon"]["id"], new_client())
        canary = f"канарка-{phone.client}"
        await phone.write(f"{canary} +380671234567")
        await phone.do("share-contact")
        message = await olena.message(f"{canary} +380671234567")
        await olena.window.send(message["conversation_id"], f"{canary} відповідь")
        await olena.message(f"{canary} відповідь")
        secret = (await sandbox.get(f"/control/{system.channels['salon']['id']}/webhook")).json()[
            "secret_token"
        ]
    forbidden = [canary, "380671234567", secret, "AAsalon-bot", "olena-password"]
    sources = [(name, text) for name, text in system.logs() if name != "sandbox"]
    sources += [(str(file), file.read_text()) for file in (system.folder / "traces").glob("*")]
    assert len(sources) >= 3
    for name, text in sources:
        for word in forbidden:
            assert word not in text, f"{word!r} is in the output of {name}"
