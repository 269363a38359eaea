"""What the sandbox's WhatsApp says, the connector understands: two readings of one sheet, made apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from whatsapp_playground import COEX, COEX_PATH, COEX_WABA, NUMBER, PATH, SECRET, VERIFY, WABA, Stage

from ingest_whatsapp.connector import WhatsAppConnector
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.hub import SIGNATURE_HEADER
from msgkit.contracts.events import (
    ContactChanged,
    InboundEvent,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ReactionChanged,
)
from msgkit.contracts.words import MessageKind, MessageState
from msgkit.runtime.clock import utc_now

CONNECTOR = WhatsAppConnector(client=None)  # type: ignore[arg-type]  # pure members only


def account(number: str, waba: str) -> Account:
    return Account(
        channel_id="c" * 32,
        tenant_id="salon",
        kind="whatsapp",
        account_id=number,
        account_name=None,
        api_base=None,
        state="active",
        problem=None,
        paused_until=None,
        credentials={"phone_number_id": number, "waba_id": waba, "access_token": "x"},
        webhook_secret=VERIFY,
    )


ACCOUNTS = {PATH: account(NUMBER, WABA), COEX_PATH: account(COEX, COEX_WABA)}


def heard(stage: Stage) -> list[Parsed]:
    """Every webhook so far, verified, cut and translated as the door of the app does it."""
    said: list[Parsed] = []
    for body, path, signature in zip(stage.edge.raw, stage.edge.paths, stage.edge.signatures, strict=True):
        request = WebhookRequest({SIGNATURE_HEADER: signature.encode()}, body, "w" * 32, utc_now())
        CONNECTOR.verify_app(request, [SECRET])
        for part in CONNECTOR.split(request):
            assert part.known_as == ACCOUNTS[path].account_id
            whole = WebhookRequest({}, part.body, "w" * 32, request.received_at)
            parsed = CONNECTOR.parse(whole, ACCOUNTS[path])
            assert parsed.quarantine is None
            said.append(parsed)
    return said


def events(stage: Stage) -> list[InboundEvent]:
    return [event for parsed in heard(stage) for event in parsed.events]


async def until(stage: Stage, count: int) -> Sequence[Any]:
    """So many events."""
    await stage.edge.until(lambda: [{"event": event} for event in events(stage)], count)
    return events(stage)


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ({"text": "Добрий день"}, MessageKind.TEXT),
        ({"kind": "photo", "text": "чек"}, MessageKind.IMAGE),
        ({"kind": "voice"}, MessageKind.VOICE),
        ({"kind": "document"}, MessageKind.FILE),
        ({"kind": "location", "latitude": 50.45, "longitude": 30.52}, MessageKind.LOCATION),
        ({"kind": "contact", "contact_name": "Ірина"}, MessageKind.CONTACT),
        ({"kind": "unsupported", "unsupported": "poll"}, MessageKind.UNSUPPORTED),
    ],
)  # fmt: skip
async def test_what_a_client_sends(whatsapp: Stage, said: dict[str, Any], kind: MessageKind) -> None:
    await whatsapp.act("olena", "messages", **said)
    (event,) = await until(whatsapp, 1)
    assert isinstance(event, MessageReceived)
    assert event.content.kind is kind
    assert event.contact.name
    assert event.contact.phone is not None


@pytest.mark.parametrize(
    ("variant", "ids", "has_phone"),
    [
        ("phone_and_user_id", ("bsuid", "phone"), True),
        ("user_id_only", ("bsuid",), False),
        ("user_id_in_from", ("bsuid",), False),
        ("empty_wa_id", ("bsuid",), False),
        ("phone_only", ("phone",), True),
    ],
)
async def test_who_a_client_is(whatsapp: Stage, variant: str, ids: tuple[str, ...], has_phone: bool) -> None:
    await whatsapp.act("olena", "identity", variant=variant, username="olena", parent=True)
    await whatsapp.act("olena", "messages", text="Це я")
    (event,) = await until(whatsapp, 1)
    ((person,),) = [parsed.people for parsed in heard(whatsapp)]
    assert tuple(id_.split(":")[0] for id_ in person.ids) == ids
    assert event.contact.key == person.key
    assert event.contact.username == "olena"
    assert (event.contact.phone is not None) is has_phone


@pytest.mark.parametrize("variant", ["phone_and_user_id", "user_id_only", "phone_only"])
async def test_a_change_of_number_retires_what_was_known(whatsapp: Stage, variant: str) -> None:
    await whatsapp.act("olena", "identity", variant=variant)
    await whatsapp.act("olena", "messages", text="Це я")
    await until(whatsapp, 1)
    await whatsapp.act("olena", "change-number")
    await until(whatsapp, 2)
    await whatsapp.act("olena", "messages", text="І знову я")
    found = await until(whatsapp, 3)
    before, change, after = (person for parsed in heard(whatsapp) for person in parsed.people)
    assert isinstance(found[1], ContactChanged)
    assert found[1].is_new_number
    assert set(change.retired) == set(before.ids)
    assert set(change.ids) == set(after.ids)


async def test_receipts_of_an_answer(whatsapp: Stage) -> None:
    await whatsapp.act("olena", "messages", text="Добрий день")
    mark = f"{'d' * 32}.0"
    wamid = await whatsapp.sent(biz_opaque_callback_data=mark)
    await whatsapp.edge.until_statuses("sent", "delivered")
    await whatsapp.act("olena", "read")
    await whatsapp.edge.until(whatsapp.edge.statuses, 3)
    receipts = [receipt for parsed in heard(whatsapp) for receipt in parsed.receipts]
    assert [receipt.state for receipt in receipts] == [
        MessageState.SENT,
        MessageState.DELIVERED,
        MessageState.READ,
    ]
    assert {(receipt.provider_id, receipt.mark) for receipt in receipts} == {(wamid, mark)}


async def test_what_happens_to_messages_in_coexistence(whatsapp: Stage) -> None:
    channel = "ch_coex"
    first = await whatsapp.act("olena", "messages", channel, text="Добрий день")
    await until(whatsapp, 1)
    await whatsapp.act("olena", "edit", channel, text="Добрий вечір")
    await until(whatsapp, 2)
    answer = await whatsapp.act("olena", "echo", channel, text="Чекаємо в четвер")
    await until(whatsapp, 3)
    await whatsapp.act("olena", "react", channel, emoji="👍")
    await until(whatsapp, 4)
    await whatsapp.act("olena", "react", channel)
    await until(whatsapp, 5)
    await whatsapp.act("olena", "echo", channel, revoke=answer["provider_id"])
    await until(whatsapp, 6)
    await whatsapp.act("olena", "delete", channel)
    _, edited, echo, put, taken_off, revoked, deleted = await until(whatsapp, 7)
    assert isinstance(edited, MessageEdited)
    assert (edited.provider_id, edited.content.text) == (first["provider_id"], "Добрий вечір")
    assert isinstance(echo, MessageEchoed)
    assert isinstance(put, ReactionChanged)
    assert isinstance(taken_off, ReactionChanged)
    assert [(put.emoji, put.provider_id), (taken_off.emoji, taken_off.provider_id)] == [
        ("👍", answer["provider_id"]),
        (None, answer["provider_id"]),
    ]
    assert isinstance(revoked, MessageDeleted)
    assert isinstance(deleted, MessageDeleted)
    assert [revoked.provider_id, deleted.provider_id] == [answer["provider_id"], first["provider_id"]]


async def test_history_and_the_address_book(whatsapp: Stage) -> None:
    told = await whatsapp.act("olena", "history", "ch_coex", count=20, days=120, chunk=5, files=2)
    await whatsapp.edge.until(lambda: whatsapp.edge.values("history"), told["sent"])
    past = [event for event in events(whatsapp) if isinstance(event, MessageRecalled)]
    assert len({event.provider_id for event in past}) == 20
    assert {event.direction.value for event in past} == {"in", "out"}
    assert len({event.conversation_id for event in past}) == 1
    files = [event for event in past if event.content.media]
    assert {event.provider_id for event in files} <= {
        event.provider_id for event in past if event.content.unsupported == "media_placeholder"
    }
    assert len(past) == 20 + len(files)
