"""Two kinds of account in one service: doors, orders, limits, announcements and counters; on real servers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from app_messenger import KIND
from app_stage import CLINIC, SALON, SALON_NUMBER, SECRET, TOKEN, AppStage, app_staged, entry
from pair_messenger import OTHER, OTHER_KIND, PairConnector

from msgkit.connector.announcements import offering
from msgkit.contracts import topology
from msgkit.contracts.events import DeliveryReported, MessageReceived, Place, SendMessage
from msgkit.contracts.ids import conversation_id, new_id
from msgkit.contracts.manifest import ManifestAnnounced
from msgkit.contracts.words import AuthorKind, FailureCode, MessageState
from msgkit.runtime import metrics
from msgkit.runtime.bus import Outgoing, Publisher
from msgkit.runtime.clock import utc_now
from msgkit.testing.servers import VirtualHosts

pytestmark = pytest.mark.servers

OTHER_SECRET = "the-others-own-app-secret"


@pytest.fixture(scope="module")
def amqp_url(vhosts: VirtualHosts) -> Iterator[str]:
    with vhosts.fresh() as url:
        yield url


@dataclass
class Pair:
    """The service of both kinds, with one account of each; both have the same number."""

    stage: AppStage
    connector: PairConnector
    publisher: Publisher

    async def say(self, text: str, *, out_seq: int, is_other: bool, **more: Any) -> SendMessage:
        channel_id, kind = (CLINIC, OTHER_KIND) if is_other else (SALON, KIND)
        order = SendMessage(
            type="send.ordered.v1",
            event_id=new_id(),
            tenant_id="clinic" if is_other else "salon",
            channel_id=channel_id,
            channel_kind=kind,
            recorded_at=utc_now(),
            conversation_id=conversation_id(channel_id, f"{out_seq}"),
            contact_key=f"{out_seq}",
            message_id=new_id(),
            out_seq=1,
            author_kind=AuthorKind.OPERATOR,
            client_wrote_at=None,
            text=text,
            media=[],
            buttons=[],
            reply_to_provider_id=None,
            place=None,
            shared_contact=None,
            template=None,
            is_reaction=False,
        ).model_copy(update=more)
        await self.publisher.publish(
            Outgoing(
                exchange=topology.SENDS,
                routing_key=topology.channel_key(kind, channel_id),
                body=order.model_dump_json().encode(),
                event_id=order.event_id,
                type=order.type,
            )
        )
        return order

    async def reports(self, count: int) -> dict[str, DeliveryReported]:
        found: dict[str, DeliveryReported] = {}
        async with asyncio.timeout(15):
            while len(found) < count:
                event = await self.stage.inbound.get()
                assert isinstance(event, DeliveryReported)
                found[event.message_id] = event
        return found


@pytest_asyncio.fixture
async def pair(amqp_url: str, mongo_url: str, mongo_prefix: str) -> AsyncIterator[Pair]:
    connector = PairConnector()
    async with app_staged(
        amqp_url, mongo_url, mongo_prefix, connector=connector, answers=connector.answers
    ) as stage:
        publisher = Publisher(amqp_url, "test")
        await stage.connected()
        assert (await stage.put(CLINIC, SALON_NUMBER, kind=OTHER_KIND, page="1")).status_code == 200
        assert (await stage.call("POST", CLINIC, "/activate")).json()["connected"]
        try:
            yield Pair(stage, connector, publisher)
        finally:
            await publisher.close()


async def test_each_kind_has_its_doors_and_the_same_number_of_the_other_kind_is_another(pair: Pair) -> None:
    stage = pair.stage
    assert (await stage.post(entry(SALON_NUMBER, "сюди"))).status_code == 200
    assert (await stage.post(entry(SALON_NUMBER, "туди"), path=f"/webhooks/{OTHER_KIND}")).status_code == 200
    found: list[tuple[str, ...]] = []
    async with asyncio.timeout(10):
        while len(found) < 2:
            event = await stage.inbound.get()
            assert isinstance(event, MessageReceived)
            found.append((event.tenant_id, event.channel_kind, event.channel_id, event.content.text))
    assert found == [("salon", KIND, SALON, "сюди"), ("clinic", OTHER_KIND, CLINIC, "туди")]
    for kind in (KIND, OTHER_KIND):
        handshake = f"?hub.mode=subscribe&hub.verify_token={TOKEN}&hub.challenge=7"
        assert (await stage.public.get(f"/webhooks/{kind}{handshake}")).content == b"7"
    assert (await stage.post(entry(SALON_NUMBER, "x"), path="/webhooks/plain_third")).status_code == 404


async def test_an_address_of_ones_own_is_of_ones_own_kind(pair: Pair) -> None:
    stage = pair.stage
    own = {"kind": OTHER_KIND, "page": "1", "app_secret": OTHER_SECRET}
    probe = (await stage.put(CLINIC, SALON_NUMBER, **own)).json()
    assert probe["webhook_url"].endswith(f"/webhooks/{OTHER_KIND}/{CLINIC}")
    for path, status in (
        (f"/webhooks/{OTHER_KIND}/{CLINIC}", 200),
        (f"/webhooks/{KIND}/{CLINIC}", 404),
        (f"/webhooks/{KIND}/{CLINIC}/x", 404),
    ):
        answer = await stage.post(entry(SALON_NUMBER, "своє"), secret=OTHER_SECRET, path=path)
        assert answer.status_code == status, path
    assert await stage.texts(1) == [("clinic", "своє")]
    # An account of the app has none, and the app's word counts at the app's address only.
    assert (await stage.post(entry(SALON_NUMBER, "x"), path=f"/webhooks/{KIND}/{SALON}")).status_code == 403
    assert (await stage.post(entry(SALON_NUMBER, "x"), secret=SECRET)).status_code == 200


async def test_orders_of_both_kinds_arrive_and_each_has_its_own_limits(pair: Pair) -> None:
    orders = [await pair.say(f"а{n}", out_seq=n, is_other=False) for n in range(20)]
    orders += [await pair.say(f"б{n}", out_seq=n, is_other=True) for n in range(5)]
    reports = await pair.reports(len(orders))
    assert {report.state for report in reports.values()} == {MessageState.SENT}
    assert {(report.tenant_id, report.channel_kind) for report in reports.values()} == {
        ("salon", KIND),
        ("clinic", OTHER_KIND),
    }
    took: dict[str, float] = {}
    for kind, count in ((KIND, 20), (OTHER_KIND, 5)):
        at = [moment for of, _, moment in pair.connector.calls if of == kind]
        assert len(at) == count
        took[kind] = max(at) - min(at)
    assert took[OTHER_KIND] > 1.2, "two in a second, and two at once"
    assert took[KIND] < 9, "two hundred in a second; with the limits of the other kind it takes 9 s"


async def test_what_one_kind_has_no_words_for_the_other_takes(pair: Pair) -> None:
    place = Place(latitude=50.4, longitude=30.5, title=None, address=None)
    refused = await pair.say("тут", out_seq=1, is_other=False, place=place)
    taken = await pair.say("тут", out_seq=1, is_other=True, place=place)
    reports = await pair.reports(2)
    failure = reports[refused.message_id].failure
    assert failure is not None
    assert (failure.code, "Plain" in failure.text) == (FailureCode.UNSUPPORTED_KIND, True)
    assert reports[taken.message_id].state is MessageState.SENT


async def test_receipts_and_counters_keep_the_kind_of_the_account(pair: Pair) -> None:
    def counted(kind: str) -> tuple[float, float]:
        labels = {"kind": kind, "state": "delivered", "outcome": "placed"}
        ended = {"kind": kind, "outcome": "delivered"}
        value = metrics.REGISTRY.get_sample_value
        return value("rozmova_receipts_total", labels) or 0, value("rozmova_delivery_total", ended) or 0

    order = await pair.say("раз", out_seq=1, is_other=True)
    (provider_id,) = (await pair.reports(1))[order.message_id].provider_ids
    before = {kind: counted(kind) for kind in (KIND, OTHER_KIND)}
    said = {"of": SALON_NUMBER, "receipts": [{"client": "1", "id": provider_id, "state": "delivered"}]}
    assert (await pair.stage.post(said, path=f"/webhooks/{OTHER_KIND}")).status_code == 200
    assert (await pair.reports(1))[order.message_id].state is MessageState.DELIVERED
    assert counted(KIND) == before[KIND]
    assert counted(OTHER_KIND) == tuple(each + 1 for each in before[OTHER_KIND])


async def test_credentials_are_those_of_the_kind(pair: Pair) -> None:
    refused = await pair.stage.put("e" * 32, "900", kind=OTHER_KIND)
    assert (refused.status_code, refused.json()["missing"]) == (422, ["page"])
    assert (await pair.stage.put("e" * 32, "900", kind="plain_third", page="1")).status_code == 422


async def test_both_manifests_are_announced(amqp_url: str, mongo_url: str, mongo_prefix: str) -> None:
    connection = await aio_pika.connect(amqp_url)
    heard: asyncio.Queue[ManifestAnnounced] = asyncio.Queue()

    async def on_message(message: aio_pika.abc.AbstractIncomingMessage) -> None:
        if message.type == "manifest.announced.v1":
            heard.put_nowait(ManifestAnnounced.model_validate_json(message.body))

    async with connection:
        channel = await connection.channel()
        queue = await channel.declare_queue(exclusive=True)
        await channel.declare_exchange(topology.PRESENCE, "fanout", durable=True)
        await queue.bind(topology.PRESENCE)
        await queue.consume(on_message, no_ack=True)
        connector = PairConnector()
        async with app_staged(amqp_url, mongo_url, mongo_prefix, connector=connector, watch=False):
            found: dict[str, ManifestAnnounced] = {}
            async with asyncio.timeout(10):
                while len(found) < 2:
                    said = await heard.get()
                    found[said.manifest.kind] = said
    assert found.keys() == {KIND, OTHER_KIND}
    assert found[OTHER_KIND].manifest == offering(OTHER, ["http://127.0.0.1:9"])
    assert len({said.internal_url for said in found.values()}) == 1


async def test_the_biggest_file_is_that_of_the_kind(pair: Pair) -> None:
    """The messenger's files have 12 bytes; one of the two kinds takes ten."""
    photo = {"ref": "r1", "kind": "file", "name": "a.txt", "mime": None, "size_bytes": None}
    file = {**photo, "width": None, "height": None, "duration_s": None}
    message = {"client": "7", "id": "m1", "text": "", "media": [file]}
    said = {"of": SALON_NUMBER, "messages": [message]}
    for path in (f"/webhooks/{KIND}", f"/webhooks/{OTHER_KIND}"):
        assert (await pair.stage.post(said, path=path)).status_code == 200
    reasons: dict[str, str | None] = {}
    async with asyncio.timeout(15):
        while len(reasons) < 2:
            event = await pair.stage.inbound.get()
            if event.type == "media.settled.v1":
                reasons[event.channel_kind] = getattr(event, "reason", None)
    assert reasons == {KIND: None, OTHER_KIND: "too_big"}
