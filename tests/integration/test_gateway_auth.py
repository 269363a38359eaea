"""Signing in and out against a real store, with a clock the test sets."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
import pytest_asyncio

from gateway.access_tokens import AccessTokens
from gateway.auth import Auth, Revocations
from gateway.passwords import Passwords
from gateway.schemas import Session, UserSettings
from gateway.store import LoginTaken, Store, Tenant, User
from msgkit.runtime.clock import utc_now
from msgkit.runtime.mongo import Mongo
from msgkit.runtime.problems import Problem

pytestmark = pytest.mark.servers

PASSWORD = "correct horse battery"
SEED = base64.b64encode(bytes(range(32))).decode()


@dataclass
class Desk:
    auth: Auth
    store: Store
    now: datetime

    def clock(self) -> datetime:
        return self.now

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def session(self, access_token: str) -> Session:
        return self.auth.session_of(f"Bearer {access_token}")


@pytest_asyncio.fixture
async def desk(mongo_url: str, mongo_prefix: str) -> AsyncIterator[Desk]:
    mongo, passwords = Mongo(mongo_url, f"{mongo_prefix}gateway"), Passwords()
    store = Store(mongo.database)
    await store.prepare()
    found = Desk(None, store, utc_now())  # type: ignore[arg-type] # set two lines below: its clock is the desk's
    tokens = AccessTokens(SEED, [], found.clock)
    found.auth = Auth(
        store, tokens, passwords, Revocations(), found.clock, per_minute_account=5, per_minute_address=20
    )
    for tenant in ("salon", "clinic"):
        await store.put_tenant(Tenant(tenant, tenant.title()))
    tokens.serve(await store.tenant_ids())
    await found.auth.bring_in_user(User("u1", "salon", "olena", "Олена", "", ("admin",)), PASSWORD)
    yield found
    passwords.close()
    mongo.close()


async def _code(attempt: object) -> str:
    try:
        await attempt  # type: ignore[misc] # any coroutine of the auth
    except Problem as problem:
        return f"{problem.status} {problem.code}"
    return "ok"


async def test_login_gives_a_pair_that_works(desk: Desk) -> None:
    pair = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    session = desk.session(pair.access_token)
    assert (session.user_id, session.tenant_id, set(session.roles)) == ("u1", "salon", {"admin"})
    assert pair.refresh_token not in str(await _everything(desk))


async def test_a_wrong_half_is_told_by_nothing(desk: Desk) -> None:
    answers = set()
    for login, password in (("olena", "wrong"), ("nobody-here", PASSWORD), ("nobody-here", "wrong")):
        with pytest.raises(Problem) as refused:
            await desk.auth.login(login, password, "1.1.1.1")
        answers.add(refused.value.body())
    assert len(answers) == 1


async def test_an_account_is_tried_five_times_a_minute(desk: Desk) -> None:
    codes = [await _code(desk.auth.login("olena", "wrong", f"1.1.1.{n}")) for n in range(7)]
    assert codes == ["401 wrong_credentials"] * 5 + ["429 rate_limited"] * 2
    assert await _code(desk.auth.login("OLENA", PASSWORD, "2.2.2.2")) == "429 rate_limited"
    desk.later(minutes=1)
    assert await _code(desk.auth.login("olena", PASSWORD, "1.1.1.1")) == "ok"


async def test_an_address_tries_twenty_times_a_minute(desk: Desk) -> None:
    codes = [await _code(desk.auth.login(f"user{n}", "wrong", "1.1.1.1")) for n in range(22)]
    assert codes == ["401 wrong_credentials"] * 20 + ["429 rate_limited"] * 2
    assert await _code(desk.auth.login("olena", PASSWORD, "2.2.2.2")) == "ok"


async def test_right_logins_do_not_use_up_the_limit(desk: Desk) -> None:
    assert {await _code(desk.auth.login("olena", PASSWORD, "1.1.1.1")) for _ in range(30)} == {"ok"}


async def test_two_hundred_at_once_do_not_slip_through(desk: Desk) -> None:
    # From as many addresses: the limit of one address would take some of the five.
    tries = (desk.auth.login("olena", "wrong", f"1.1.1.{n}") for n in range(200))
    codes = await asyncio.gather(*map(_code, tries))
    assert codes.count("401 wrong_credentials") == 5
    assert codes.count("429 rate_limited") == 195


async def test_refresh_rotates(desk: Desk) -> None:
    first = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    second = await desk.auth.refresh(first.refresh_token)
    third = await desk.auth.refresh(second.refresh_token)
    assert len({first.refresh_token, second.refresh_token, third.refresh_token}) == 3
    assert desk.session(third.access_token).sid == desk.session(first.access_token).sid


async def test_two_tabs_may_refresh_with_the_same_token(desk: Desk) -> None:
    first = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    tabs = await asyncio.gather(*(desk.auth.refresh(first.refresh_token) for _ in range(5)))
    desk.later(seconds=20)
    tabs.append(await desk.auth.refresh(first.refresh_token))
    for tab in tabs:
        assert await _code(desk.auth.refresh(tab.refresh_token)) == "ok"


async def test_a_token_used_again_later_ends_the_whole_family(desk: Desk) -> None:
    first = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    second = await desk.auth.refresh(first.refresh_token)
    other = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    desk.later(seconds=31)
    assert await _code(desk.auth.refresh(first.refresh_token)) == "401 signed_out"
    assert await _code(desk.auth.refresh(second.refresh_token)) == "401 signed_out"
    with pytest.raises(Problem):
        desk.session(second.access_token)
    assert await _code(desk.auth.refresh(other.refresh_token)) == "ok"


@pytest.mark.parametrize("token", [None, "", "unknown", "x" * 300])
async def test_an_unknown_refresh_token_is_refused(desk: Desk, token: str | None) -> None:
    assert await _code(desk.auth.refresh(token)) == "401 signed_out"


async def test_a_session_ends_after_twelve_hours(desk: Desk) -> None:
    pair = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    desk.later(hours=11, minutes=59)
    pair = await desk.auth.refresh(pair.refresh_token)
    desk.later(minutes=2)
    assert await _code(desk.auth.refresh(pair.refresh_token)) == "401 signed_out"


async def test_logout_ends_the_session(desk: Desk) -> None:
    pair = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    session = desk.session(pair.access_token)
    ticket = await desk.auth.ticket(session)
    await desk.auth.logout(session, None)
    with pytest.raises(Problem):
        desk.session(pair.access_token)
    assert await _code(desk.auth.refresh(pair.refresh_token)) == "401 signed_out"
    assert await desk.auth.redeem(ticket) is None
    await desk.auth.logout(session, pair.refresh_token)  # a repeat is no error


async def test_a_ticket_lives_thirty_seconds_and_once(desk: Desk) -> None:
    session = desk.session((await desk.auth.login("olena", PASSWORD, "1.1.1.1")).access_token)
    ticket, late = await desk.auth.ticket(session), await desk.auth.ticket(session)
    redeemed = await asyncio.gather(*(desk.auth.redeem(ticket) for _ in range(20)))
    found = [one for one in redeemed if one is not None]
    assert [(one.user_id, one.tenant_id, one.sid, one.roles) for one in found] == [
        ("u1", "salon", session.sid, session.roles)
    ]
    # The socket may live as long as the session, not only as long as the access token.
    assert found[0].expires_at - desk.now > timedelta(hours=11)
    desk.later(seconds=31)
    assert await desk.auth.redeem(late) is None


async def test_other_roles_or_another_password_end_what_was_given_before(desk: Desk) -> None:
    pair = await desk.auth.login("olena", PASSWORD, "1.1.1.1")
    same = User("u1", "salon", "olena", "Олена", "", ("admin",))
    await desk.auth.bring_in_user(same, PASSWORD)
    assert await desk.store.revocations_since(desk.now - timedelta(days=1)) == []

    await desk.auth.bring_in_user(User("u1", "salon", "olena", "Олена", "", ("reception",)), PASSWORD)
    assert len(await desk.store.revocations_since(desk.now - timedelta(days=1))) == 1
    assert (await desk.auth.refresh(pair.refresh_token)) is not None

    await desk.auth.bring_in_user(same, "another password")
    assert await _code(desk.auth.login("olena", PASSWORD, "1.1.1.1")) == "401 wrong_credentials"


async def test_one_login_cannot_belong_to_two(desk: Desk) -> None:
    with pytest.raises(LoginTaken, match="choose another"):
        await desk.auth.bring_in_user(User("u2", "clinic", "olena", "Інша", "", ()), PASSWORD)


async def test_settings_are_per_tenant_and_user(desk: Desk) -> None:
    await desk.store.change_settings("salon", "u1", {"sound": False})
    await desk.store.change_settings("salon", "u1", {"theme": "dark"})
    assert await desk.store.settings("salon", "u1") == UserSettings(sound=False, theme="dark")
    assert await desk.store.settings("clinic", "u1") == UserSettings()


async def _everything(desk: Desk) -> list[object]:
    database = desk.store._users.database
    return [
        document
        for name in await database.list_collection_names()
        async for document in database[name].find({})
    ]
