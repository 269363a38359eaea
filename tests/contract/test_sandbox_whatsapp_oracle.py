"""The sandbox against the unmodified `pywa` package: what its author believes of the Cloud API."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
from pywa import utils
from pywa.client import WhatsApp
from pywa.errors import ReEngagementMessage, WhatsAppError
from pywa.types.callback import Button
from pywa.types.message import Message
from pywa.types.message_status import MessageStatus
from whatsapp_playground import NUMBER, SECRET, TOKEN, WABA, Stage

T = TypeVar("T")
PDF = b"%PDF-1.4"


@pytest.fixture
async def client(whatsapp: Stage) -> AsyncIterator[WhatsApp]:
    """pywa, pointed at the sandbox; it has no setting for that but its session's base address."""
    made = WhatsApp(phone_id=NUMBER, token=TOKEN, waba_id=WABA)
    made.api._session.base_url = f"{whatsapp.url}/graph/v25.0"
    yield made
    made.api._session.close()


async def _call(function: Callable[..., T], *arguments: object, **named: object) -> T:
    """pywa's client blocks."""
    return await asyncio.to_thread(function, *arguments, **named)


async def test_pywa_sends_and_reads_the_answers(whatsapp: Stage, client: WhatsApp) -> None:
    await whatsapp.writes()
    phone = await whatsapp.phone("olena")
    to, user_id = phone["phone_number"], phone["user_id"]
    sent = await _call(client.send_message, to=to, text="Вітаю", tracker="65f0c1")
    assert sent.id.startswith("wamid.")
    await _call(client.send_message, to=user_id, text="За ідентифікатором")
    buttons = [Button(title="Так", callback_data="y"), Button(title="Ні", callback_data="n")]
    await _call(client.send_message, to=to, text="Підтверджуєте?", buttons=buttons)
    await _call(client.send_document, to=to, document=PDF, filename="чек.pdf", mime_type="application/pdf")
    await _call(client.send_location, to=to, latitude=50.45, longitude=30.52)
    hers = (await whatsapp.shows())[0]["provider_id"]
    await _call(client.send_reaction, to=to, emoji="👍", message_id=hers)
    await _call(client.mark_message_as_read, message_id=hers)
    kinds = [bubble["kind"] for bubble in await whatsapp.shows()]
    assert kinds == ["text", "text", "text", "text", "document", "location"]
    statuses = [one["status"] for one in await whatsapp.edge.until(whatsapp.edge.statuses, 11)]
    assert statuses == [*(["sent", "delivered"] * 5), "sent"]


async def test_pywa_fetches_files_templates_and_fields(whatsapp: Stage, client: WhatsApp) -> None:
    await whatsapp.good(NUMBER)
    message = await whatsapp.writes(kind="photo")
    told = await _call(client.get_media_url, media_id=message["image"]["id"])
    assert (told.mime_type, told.file_size) == ("image/jpeg", int(told.file_size))
    number = await _call(client.get_business_phone_number)
    assert number.verified_name == "Мавка"
    templates = await _call(client.get_templates)
    assert {template.name for template in templates} >= {"hello_world", "appointment_reminder", "order_ready"}


async def test_pywa_understands_the_errors(whatsapp: Stage, client: WhatsApp) -> None:
    await whatsapp.faults({"code": 131047, "method": "messages"})
    with pytest.raises(ReEngagementMessage) as refused:
        await _call(client.send_message, to="380671112233", text="Вітаю")
    assert refused.value.code == 131047
    client.api._session.headers["Authorization"] = "Bearer EAAwrong"
    with pytest.raises(WhatsAppError) as refused_token:
        await _call(client.get_business_phone_number)
    assert refused_token.value.code == 190


async def test_pywa_believes_the_signatures_and_reads_the_webhooks(whatsapp: Stage, client: WhatsApp) -> None:
    await whatsapp.good(NUMBER)
    written: list[dict[str, Any]] = [
        {"text": "Добрий день https://a.ua"}, {"kind": "photo", "caption": "фото"}, {"kind": "voice"},
        {"kind": "video"}, {"kind": "document", "file": "рахунок.pdf"}, {"kind": "sticker"},
        {"kind": "location"}, {"phone_number": "380671234567"}, {"unsupported": "poll"},
    ]  # fmt: skip
    for message in written:
        await whatsapp.writes(**message)
    await whatsapp.sent()
    await whatsapp.act("olena", "react", emoji="👍")
    await whatsapp.act("olena", "read")
    await whatsapp.edge.until_statuses("sent", "delivered", "read")
    found: list[object] = []
    for raw, header in zip(whatsapp.edge.raw, whatsapp.edge.signatures, strict=True):
        assert utils.webhook_updates_validator(SECRET, raw, header)
        payload = json.loads(raw)
        value = payload["entry"][0]["changes"][0]["value"]
        kind = Message if "messages" in value else MessageStatus
        found.append(kind.from_update(client, payload))
    messages = [one for one in found if isinstance(one, Message)]
    assert [one.type.value for one in messages] == [
        "text", "image", "audio", "video", "document", "sticker", "location", "contacts", "unsupported",
        "reaction",
    ]  # fmt: skip
    assert messages[0].text == "Добрий день https://a.ua"
    assert messages[0].from_user.wa_id == (await whatsapp.phone("olena"))["phone_number"]
    statuses = [one.status.value for one in found if isinstance(one, MessageStatus)]
    assert statuses == ["sent", "delivered", "read"]
