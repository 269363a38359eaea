"""What the sandbox's Messenger and Instagram say, the connector understands: two readings of one sheet."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from meta_playground import (
    CHANNELS,
    DEADLINE_SECONDS,
    IG,
    LOGIN_IG,
    LOGIN_SECRET,
    PAGE,
    SECRET,
    VERIFY,
    Stage,
    meta_settings,
    meta_stage,
)

from ingest_meta.connector import MetaConnector
from ingest_meta.payloads import FACEBOOK, INSTAGRAM
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.hub import SIGNATURE_HEADER
from msgkit.contracts.events import (
    InboundEvent,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ReactionChanged,
)
from msgkit.contracts.words import AuthorKind, MessageKind, MessageState
from msgkit.runtime.clock import utc_now

CONNECTOR = MetaConnector(client=None)  # type: ignore[arg-type]  # pure members only
ALL = (PAGE, IG, LOGIN_IG)
EVERYWHERE = pytest.mark.parametrize("where", ALL, ids=["page", "instagram", "instagram login"])
ON_INSTAGRAM = pytest.mark.parametrize("where", [IG, LOGIN_IG], ids=["by page", "by login"])


def _account(account_id: str) -> Account:
    of_page = {"page_id": PAGE} if account_id != LOGIN_IG else {}
    return Account(
        channel_id=CHANNELS[account_id].ljust(32, "0"),
        tenant_id="salon",
        kind=FACEBOOK if account_id == PAGE else INSTAGRAM,
        account_id=account_id,
        account_name=None,
        api_base=None,
        state="active",
        problem=None,
        paused_until=None,
        credentials={"access_token": "x", **of_page},
        webhook_secret=VERIFY,
    )


ACCOUNTS = {account_id: _account(account_id) for account_id in ALL}


@pytest.fixture
async def meta() -> AsyncIterator[Stage]:
    async with meta_stage(meta_settings()) as stage:
        await stage.connect()
        yield stage


def heard(stage: Stage) -> list[Parsed]:
    """Every webhook so far, verified, cut and translated as the door of the app does it."""
    said: list[Parsed] = []
    for body, signature in zip(stage.edge.raw, stage.edge.signatures, strict=True):
        headers = {SIGNATURE_HEADER: signature.encode()}
        request = WebhookRequest(headers, body, "w" * 32, utc_now())
        CONNECTOR.verify_app(request, [SECRET, LOGIN_SECRET])
        for part in CONNECTOR.split(request):
            # Files lie on the sandbox's own host, which only an account of the sandbox may fetch from.
            account = replace(ACCOUNTS[str(part.known_as)], api_base=f"{stage.url}/graph-meta")
            parsed = CONNECTOR.parse(WebhookRequest({}, part.body, "w" * 32, request.received_at), account)
            assert parsed.quarantine is None, body
            said.append(parsed)
    return said


def events(stage: Stage) -> list[InboundEvent]:
    return [event for parsed in heard(stage) for event in parsed.events]


async def until(stage: Stage, count: int) -> list[Any]:
    """So many events, and not one more."""
    await stage.edge.until(lambda: [{"event": event} for event in events(stage)], count)
    found = events(stage)
    assert len(found) == count, found
    return list(found)


async def receipts(stage: Stage, *states: MessageState) -> list[Any]:
    """The receipts so far, once there are these."""

    def found() -> list[Any]:
        return [receipt for parsed in heard(stage) for receipt in parsed.receipts]

    await stage.edge.until(lambda: found() if set(states) <= {one.state for one in found()} else [])
    return found()


SAID: list[tuple[dict[str, Any], dict[str, MessageKind], str | None]] = [
    ({"text": "Добрий день"}, dict.fromkeys(ALL, MessageKind.TEXT), None),
    ({"kind": "photo", "text": "чек"}, dict.fromkeys(ALL, MessageKind.IMAGE), None),
    ({"kind": "video"}, dict.fromkeys(ALL, MessageKind.VIDEO), None),
    ({"kind": "document"}, dict.fromkeys(ALL, MessageKind.FILE), None),
    ({"kind": "voice"}, dict.fromkeys(ALL, MessageKind.AUDIO), None),
    ({"kind": "post"}, {PAGE: MessageKind.IMAGE, IG: MessageKind.IMAGE}, "post"),
    ({"kind": "reel"}, {PAGE: MessageKind.TEXT, IG: MessageKind.VIDEO}, "reel"),
    ({"kind": "reel", "url": "/reel/123/"}, {PAGE: MessageKind.TEXT}, "reel"),
    ({"kind": "product"}, {PAGE: MessageKind.TEXT, IG: MessageKind.TEXT}, "product"),
    ({"kind": "appointment"}, {PAGE: MessageKind.TEXT}, None),
    ({"kind": "sticker"}, {PAGE: MessageKind.STICKER, IG: MessageKind.IMAGE}, None),
    ({"kind": "sticker", "doubled": True}, {PAGE: MessageKind.STICKER}, None),
    ({"kind": "location", "latitude": 50.45, "longitude": 30.52}, {PAGE: MessageKind.LOCATION}, None),
    ({"kind": "share", "url": "https://youtu.be/x", "title": "Відео"}, {PAGE: MessageKind.TEXT}, "link"),
    ({"kind": "story_mention"}, {IG: MessageKind.IMAGE, LOGIN_IG: MessageKind.IMAGE}, "story_mention"),
    ({"kind": "story_reply", "text": "Гарно"}, {IG: MessageKind.IMAGE}, "story_reply"),
    ({"kind": "ephemeral"}, {IG: MessageKind.UNSUPPORTED, LOGIN_IG: MessageKind.UNSUPPORTED}, None),
    ({"kind": "unsupported"}, {IG: MessageKind.UNSUPPORTED}, None),
    ({"kind": "like"}, {IG: MessageKind.TEXT}, None),
]
"""What a client sends, how we call it and where, and what it points at."""
CASES = [(said, where, kind, link) for said, kinds, link in SAID for where, kind in kinds.items()]


@pytest.mark.parametrize(
    ("said", "where", "kind", "link"),
    CASES,
    ids=[f"{said.get('kind', 'text')}-{CHANNELS[where]}-{n}" for n, (said, where, _, _) in enumerate(CASES)],
)
async def test_what_a_client_sends(
    meta: Stage, said: dict[str, Any], where: str, kind: MessageKind, link: str | None
) -> None:
    told = await meta.act("olena", "messages", where, **said)
    (event,) = await until(meta, 1)
    assert isinstance(event, MessageReceived)
    assert (event.provider_id, event.contact.key) == (told["provider_id"], told["chat_id"])
    assert event.content.kind is kind
    assert len({media.ref for media in event.content.media}) == len(event.content.media)
    pointed = event.content.shared_link
    assert (pointed and pointed.kind) == link


@EVERYWHERE
async def test_several_photos_are_one_message(meta: Stage, where: str) -> None:
    await meta.act("olena", "messages", where, album=[{"kind": "photo"}] * 3, text="Ось так")
    (event,) = await until(meta, 1)
    assert isinstance(event, MessageReceived)
    assert len({media.ref for media in event.content.media}) == 3
    assert event.content.text == "Ось так"


@EVERYWHERE
async def test_what_happens_to_a_message(meta: Stage, where: str) -> None:
    first = await meta.act("olena", "messages", where, text="Добрий день")
    await until(meta, 1)
    await meta.act("olena", "edit", where, text="Добрий вечір")
    _, edited = await until(meta, 2)
    assert isinstance(edited, MessageEdited)
    assert (edited.provider_id, edited.content.text) == (first["provider_id"], "Добрий вечір")
    echo = await meta.act("olena", "inbox", where, text="Чекаємо в четвер")
    echoed = (await until(meta, 3))[2]
    assert isinstance(echoed, MessageEchoed)
    assert (echoed.provider_id, echoed.author_kind) == (echo["provider_id"], AuthorKind.OPERATOR)
    assert echoed.conversation_id == edited.conversation_id
    await meta.act("olena", "react", where, emoji="👍", provider_id=echo["provider_id"])
    await until(meta, 4)
    await meta.act("olena", "react", where, emoji="", provider_id=echo["provider_id"])
    *_, put, taken_off = await until(meta, 5)
    assert isinstance(put, ReactionChanged)
    assert isinstance(taken_off, ReactionChanged)
    assert [put.emoji, taken_off.emoji] == ["👍", None]
    assert put.provider_id == taken_off.provider_id == echo["provider_id"]


@ON_INSTAGRAM
async def test_an_unsent_message_is_deleted(meta: Stage, where: str) -> None:
    first = await meta.act("olena", "messages", where, text="ой")
    await until(meta, 1)
    await meta.act("olena", "delete", where)
    deleted = (await until(meta, 2))[1]
    assert isinstance(deleted, MessageDeleted)
    assert deleted.provider_id == first["provider_id"]


@EVERYWHERE
async def test_an_answer_of_ours_comes_back_as_receipts(meta: Stage, where: str) -> None:
    await meta.act("olena", "messages", where, text="Добрий день")
    await until(meta, 1)
    mark = f"{'d' * 32}.0"
    mid = await meta.sent(account=where, message={"text": "Вітаємо", "metadata": mark})
    await meta.edge.until(meta.edge.echoes)
    await meta.act("olena", "read", where)
    found = await receipts(meta, MessageState.READ)
    read = [one for one in found if one.state is MessageState.READ]
    if where == PAGE:
        echoes = [one for one in found if one.state is MessageState.SENT]
        assert [(one.provider_id, one.mark) for one in echoes] == [(mid, mark)]
        assert all(one.up_to is not None and one.conversation_id for one in read)
        await until(meta, 1)
    else:
        # Instagram gives no mark back: whether that is ours the kit decides, by its id.
        assert [(one.provider_id, one.and_earlier) for one in read] == [(mid, True)]
        echo = (await until(meta, 2))[1]
        assert isinstance(echo, MessageEchoed)
        assert echo.provider_id == mid


@EVERYWHERE
async def test_a_quick_answer_and_a_menu_item_are_pressed(meta: Stage, where: str) -> None:
    await meta.act("olena", "messages", where, text="Добрий день")
    replies = [{"content_type": "text", "title": "Ціни", "payload": "PRICES"}]
    await meta.sent(account=where, message={"text": "Оберіть", "quick_replies": replies})
    await meta.act("olena", "press", where, text="Ціни")
    await meta.act("olena", "start", where, payload="MENU_1", title="Меню", ref="qr-7")

    def pressed() -> list[Any]:
        return [e for e in events(meta) if isinstance(e, MessageReceived) and (e.pressed or e.start_payload)]

    await meta.edge.until(pressed, 2)
    quick, menu = pressed()
    assert (quick.content.text, quick.pressed.value) == ("Ціни", "PRICES")
    assert menu.content.text == "Меню"
    assert menu.start_payload == "qr-7"


@EVERYWHERE
async def test_what_is_no_message_says_nothing(meta: Stage, where: str) -> None:
    await meta.act("olena", "messages", where, text="Добрий день")
    await until(meta, 1)
    await meta.act("olena", "referral", where, ref="qr-7")
    if where == PAGE:
        await meta.act("olena", "optin", where, user_ref="checkbox-1")
        await meta.act("olena", "handover", where, to="app", metadata="to us")
        await meta.act("olena", "policy", where, reason="spam")
    await meta.act("olena", "messages", where, text="А тепер?")
    found = await until(meta, 2)
    assert [event.content.text for event in found] == ["Добрий день", "А тепер?"]
    alerts = [alert for parsed in heard(meta) for alert in parsed.alerts]
    assert len(alerts) == (1 if where == PAGE else 0)


async def test_what_another_app_leads_is_told_as_such(meta: Stage) -> None:
    await meta.act("olena", "messages", PAGE, text="Добрий день", standby=True)
    (event,) = await until(meta, 1)
    assert isinstance(event, MessageReceived)
    assert event.is_standby


async def test_a_batch_is_read_item_by_item(meta: Stage) -> None:
    await meta.faults({"kind": "batch", "seconds": 1, "size": 6, "shape": "mixed"})
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as writing:
        for client in ("olena", "maria", "ivan"):
            for where in (PAGE, IG):
                writing.create_task(meta.act(client, "messages", where, text=f"{client} {where}"))
    found = await until(meta, 6)
    assert {event.channel_kind for event in found} == {FACEBOOK, INSTAGRAM}
    assert len({event.event_id for event in found}) == 6
