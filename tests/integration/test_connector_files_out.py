"""Files of an answer on their way to the phone: real bytes, one album, each part once."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import httpx2
import pytest
from connector_stage import CHANNEL, TOKEN, BotApi, running
from PIL import Image

from msgkit.contracts.events import MessageReceived, OutboundMedia
from msgkit.contracts.ids import new_id
from msgkit.contracts.words import MessageKind, MessageState
from msgkit.runtime.objects import ObjectStore, new_key
from sandbox.app import running as sandbox_running
from sandbox.settings import BotSettings
from sandbox.settings import Settings as SandboxSettings

pytestmark = pytest.mark.servers


def picture(colour: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", (320, 240), colour).save(out, "JPEG")
    return out.getvalue()


async def attached(objects: ObjectStore, folder: Path, content: bytes, **more: Any) -> OutboundMedia:
    key = new_key()
    (folder / "file").write_bytes(content)
    await objects.put_file(key, folder / "file")
    fields: dict[str, Any] = {
        "attachment_id": new_id(),
        "key": key,
        "kind": MessageKind.IMAGE,
        "name": "фото.jpg",
        "mime": "image/jpeg",
        "size_bytes": len(content),
        "width": 320,
        "height": 240,
        "duration_s": None,
    }
    return OutboundMedia(**{**fields, **more})


async def test_album_and_document_reach_the_phone_once_each(
    amqp_url: str, mongo_url: str, mongo_prefix: str, tmp_path: Path
) -> None:
    bot = BotSettings(token=TOKEN, username="mavka_bot", name="Мавка")
    objects = ObjectStore((tmp_path / "objects").as_uri())
    await objects.prepare()
    unused = BotApi()
    await unused.wire.start()
    pdf = b"%PDF-1.4\n" + b"x" * 2_000_000
    async with sandbox_running(SandboxSettings(public_port=0, sandbox_bots=(bot,))) as sandbox:
        settings: dict[str, Any] = {
            "api_bases": (sandbox,),
            "receive": "polling",
            "objects_url": (tmp_path / "objects").as_uri(),
        }
        async with (
            httpx2.AsyncClient(base_url=sandbox) as phone,
            running(unused, amqp_url, mongo_url, mongo_prefix, **settings) as stage,
        ):
            assert (await stage.put_account(api_base=sandbox)).status_code == 200
            assert (await stage.activate()).status_code == 200
            olena = f"/control/{TOKEN.split(':')[0]}/clients/olena"
            assert (await phone.post(f"{olena}/messages", json={"text": "/start"})).is_success
            event = await stage.next_inbound()
            assert isinstance(event, MessageReceived)
            # The document is refused once: what was delivered before it must not go out again.
            fault = {"kind": "429", "method": "sendDocument", "count": 1, "retry_after": 1}
            assert (await phone.put("/control/faults", json={"faults": [fault]})).is_success

            red, blue = picture("red"), picture("blue")
            order = await stage.say(
                "Ось фото і рахунок",
                client=int(event.contact.key),
                media=[
                    await attached(objects, tmp_path, red),
                    await attached(objects, tmp_path, blue),
                    await attached(
                        objects,
                        tmp_path,
                        pdf,
                        kind=MessageKind.FILE,
                        name="рахунок 5.pdf",
                        mime="application/pdf",
                        width=None,
                        height=None,
                    ),
                ],
            )
            report = await stage.report_of(order.message_id)

            assert (report.state, report.failure, len(report.provider_ids)) == (MessageState.SENT, None, 3)
            shown = (await phone.get(f"{olena}/messages")).json()[1:]
            assert [str(message["provider_id"]) for message in shown] == report.provider_ids
            assert [message["kind"] for message in shown] == ["photo", "photo", "document"]
            assert shown[0]["group"] == shown[1]["group"]
            assert "Ось фото і рахунок" in (shown[0].get("caption"), shown[0]["text"])
            assert shown[2]["file"]["name"] == "рахунок 5.pdf"
            contents = [(await phone.get(message["file"]["url"])).content for message in shown]
            assert contents == [red, blue, pdf]
            calls = (await phone.get("/control/ledger", params={"limit": 1000})).json()
            done = [(call["method"], call["status"]) for call in calls if call["type"] == "api"]
            assert [method for method, status in done if method.startswith("send") and status == 200] == [
                "sendMediaGroup",
                "sendMediaGroup",
                "sendDocument",
            ], "an entry per message of the album"
    await unused.wire.stop()
    assert order.channel_id == CHANNEL
