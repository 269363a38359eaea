"""Follows the live stream into the ring: one consumer per replica, gapless, or everybody starts anew."""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from datetime import timedelta
from typing import Final, cast

from aio_pika.abc import AbstractConnection
from aiormq.abc import DeliveredMessage
from aiormq.channel import Channel as UnderlayChannel
from aiormq.exceptions import ChannelNotFoundEntity
from pydantic import ValidationError

from gateway.clients import Channels, Inbox
from gateway.consumers import Manifests
from gateway.ring import Entry, Position, Push, Ring
from gateway.schemas import ChannelOut
from msgkit.contracts.facts import Change, FactsEnvelope, UiEvent
from msgkit.contracts.ids import new_id
from msgkit.contracts.topology import FACTS, live_stream
from msgkit.contracts.views import ChannelView
from msgkit.contracts.words import AuthorKind
from msgkit.runtime import bus
from msgkit.runtime.bus import (
    AMQP_ERRORS,
    Outgoing,
    Publisher,
    PublishUnknown,
    PublishUnroutable,
    uncancelled,
)
from msgkit.runtime.clock import Clock
from msgkit.runtime.logs import get_logger
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

MARKER_KEY: Final = "live.marker"
BESIDE_KEY: Final = "gateway.beside"
LOOK_BACK = timedelta(minutes=10)
START_BACK_SECONDS = 3.0
"""A new socket starts this far back: inbox publishes before it writes what lists are read from."""
PREFETCH = 500
READ_AT_ONCE = 20
ATTACH_SECONDS = 10.0
MARKER_WITHIN_SECONDS = 10.0
MARK_FIRST_SECONDS = 0.5
"""A consumer attached while RabbitMQ (3.10) is still starting may hear a little and then nothing more."""
MARK_EVERY_SECONDS = 30.0
"""A stream in which nothing happens still moves: positions do not age, and a deaf consumer is noticed."""
PAUSE_MAX_SECONDS = 1.0
CHECK_SECONDS = 0.25
PUBLISH_AGAIN_SECONDS = 0.25
DOWN_SECONDS = 10.0
"""RabbitMQ calls a stream that is only starting «not found» too; one it lost in a kill stays so for ever."""
CONVERSATIONS_REMEMBERED = 100_000
CHANNEL_EVENTS: Final = "channel."
MESSAGE_CREATED: Final = "message.created"
_IS_DOWN: Final = "down or inaccessible"
"""RabbitMQ's words for a queue it knows and has not started (3.10; the code of both is 404)."""

_PASSING: tuple[type[Exception], ...] = (Problem, PublishUnknown, PublishUnroutable, *AMQP_ERRORS)
"""Trouble of the surroundings: try again."""


class _Missed(Exception):
    """The stream no longer continues where we stopped reading."""


class _Moved(Exception):
    """Inbox writes to the stream of another epoch."""

    def __init__(self, epoch: str) -> None:
        super().__init__(epoch)
        self.epoch = epoch


class _Deaf(Exception):
    """Our own marker did not come back: the consumer is dead, or nobody writes to what it reads."""


class Seen:
    """The last `v` of each conversation: after a crash of its owner, inbox may publish some again."""

    def __init__(self, size: int = CONVERSATIONS_REMEMBERED) -> None:
        self._size = size
        self._v: OrderedDict[str, int] = OrderedDict()

    def is_new(self, conversation_id: str, v: int) -> bool:
        known = self._v.get(conversation_id)
        if known is not None and v <= known:
            return False
        self._v[conversation_id] = v
        self._v.move_to_end(conversation_id)
        if len(self._v) > self._size:
            self._v.popitem(last=False)
        return True

    def clear(self) -> None:
        self._v.clear()


def to_channel_out(view: ChannelView, manifests: Manifests) -> ChannelOut:
    """A channel as an operator may see it."""
    known = manifests.of(view.kind)
    return ChannelOut(
        id=view.id,
        kind=view.kind,
        kind_title=None if known is None else known.manifest.title,
        title=view.title,
        connected=view.connected,
        problem=view.problem,
        limits=manifests.limits(view.kind),
        limit_units=manifests.limit_units(view.kind),
        abilities=None if known is None else known.manifest.abilities,
        reply_window_hours=manifests.reply_hours(view),
        human_reply_window_hours=None if known is None else known.manifest.human_reply_window_hours,
    )


class Live:
    """The ring and the one consumer that fills it.

    `on_entries` is called with the tenants concerned after entries were added, `on_turn` when the ring was
    emptied or became ready, `on_channels` when the channels of a tenant changed, `on_answer` with dialogue
    and author when an operator's answer was read.
    """

    def __init__(
        self,
        url: str,
        inbox: Inbox,
        publisher: Publisher,
        channels: Channels,
        manifests: Manifests,
        clock: Clock,
        instance: str,
    ) -> None:
        self._url = url
        self._inbox = inbox
        self._publisher = publisher
        self._channels = channels
        self._manifests = manifests
        self._clock = clock
        self._instance = instance
        self.ring = Ring()
        self.generation = 0
        """Rises whenever the ring was emptied: who read in an earlier one has to start anew."""
        self.ready = asyncio.Event()
        """Set while the ring ends where the stream ends, as far as our own markers tell."""
        self.on_entries: Callable[[set[str]], None] = lambda _tenants: None
        self.on_turn: Callable[[], None] = lambda: None
        self.on_channels: Callable[[str], None] = lambda _tenant: None
        self.on_answer: Callable[[str, str], None] = lambda _conversation, _user: None
        self._seen = Seen()
        self._arrived: deque[DeliveredMessage] = deque()
        self._wake = asyncio.Event()
        self._cancelled = False
        self._down_since: float | None = None
        self._silences = 0
        """How often we attached in vain since a marker came back."""
        self._markers: dict[str, asyncio.Event] = {}

    @property
    def epoch(self) -> str:
        return self.ring.epoch

    def start_position(self) -> Position | None:
        """Where a socket without a past starts: a few seconds back."""
        return self.ring.position_before(self._clock().timestamp() - START_BACK_SECONDS)

    async def tell_user(self, tenant_id: str, user_id: str, event: UiEvent) -> None:
        """Tell all windows of a user, on every replica, of something that gateway itself decides.

        The word is a convenience: what it says is stored already, so a lost one is no fault.
        """
        change = Change(
            tenant_id=tenant_id,
            channel_id=None,
            conversation_id=None,
            user_id=user_id,
            v=None,
            traceparent=None,
            received_at=None,
            events=[event],
        )
        try:
            await self._publisher.publish(self._outgoing(BESIDE_KEY, self._envelope([change])))
        except (PublishUnknown, PublishUnroutable) as exc:
            log.info("user_not_told", event_type=event.type, reason=type(exc).__name__)

    async def run(self) -> None:
        """Follow the stream for ever."""
        pause = 0.1
        while True:
            try:
                await self._follow()
            except* _Missed as group:
                log.warning("live_stream_broken", reasons=_reasons(group))
                self._restart(self.epoch)
            except* _Deaf:
                await self._heard_nothing()
            except* _Moved as group:
                moved = next(exc for exc in group.exceptions if isinstance(exc, _Moved))
                log.warning("live_stream_moved")
                self._restart(moved.epoch)
            except* ChannelNotFoundEntity as group:
                await self._not_found(group)
            except* _PASSING as group:
                log.warning("live_interrupted", reasons=_reasons(group))
            if self.ready.is_set():
                pause = 0.1
            self.ready.clear()
            await asyncio.sleep(pause)
            pause = min(pause * 2, PAUSE_MAX_SECONDS)

    async def _follow(self) -> None:
        """One connection: attach, prove that we hear, read until something breaks."""
        if not self.epoch:
            self._restart((await self._inbox.live()).epoch)
        connection = await uncancelled(bus.connect(self._url, f"gateway live {self._instance}"))
        try:
            async with asyncio.timeout(ATTACH_SECONDS):
                channel = await self._attach(connection)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._watch(connection, channel))
                tasks.create_task(self._mark())
                await self._read(channel)
        finally:
            if not connection.is_closed:
                try:
                    async with asyncio.timeout(3.0):
                        await uncancelled(connection.close())
                except AMQP_ERRORS as exc:
                    log.debug("live_close_failed", reason=type(exc).__name__)

    async def _attach(self, connection: AbstractConnection) -> UnderlayChannel:
        opened = connection.channel()
        await uncancelled(opened.initialize())
        await uncancelled(opened.set_qos(prefetch_count=PREFETCH))
        channel = cast("UnderlayChannel", await opened.get_underlay_channel())
        arrived: deque[DeliveredMessage] = deque()
        self._arrived = arrived
        self._cancelled = False

        async def on_message(message: DeliveredMessage) -> None:
            arrived.append(message)
            self._wake.set()

        def on_cancel(_frame: object) -> None:
            self._cancelled = True
            self._wake.set()

        channel.on_consumer_cancel_callbacks.add(on_cancel)
        last = self.ring.last
        # The last one once more: its id proves that this is the stream we left.
        offset = last.pos if last is not None else self._clock() - LOOK_BACK
        await uncancelled(
            channel.basic_consume(
                live_stream(self.epoch).name, on_message, arguments={"x-stream-offset": offset}
            )
        )
        self._down_since = None
        return channel

    async def _read(self, channel: UnderlayChannel) -> None:
        resumed_after = self.ring.last
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._cancelled:
                raise ConnectionError("the live stream was deleted or moved")
            tenants: set[str] = set()
            tag = 0
            for _ in range(min(len(self._arrived), READ_AT_ONCE)):
                message = self._arrived.popleft()
                tag = message.delivery_tag or tag
                pos = _offset(message)
                last = self.ring.last
                if last is not None and pos < last.pos:
                    continue  # a chunk of the stream begins before the offset we asked for
                if resumed_after is not None:
                    self._prove_same(message, pos, resumed_after)
                    resumed_after = None
                    continue
                tenants |= self._take(message, pos)
            if tag:
                await uncancelled(channel.basic_ack(tag, multiple=True))
            if tenants:
                self.on_entries(tenants)
            if self._arrived:
                self._wake.set()
                await asyncio.sleep(0)  # others have their turn: an envelope may hold a hundred changes

    @staticmethod
    def _prove_same(message: DeliveredMessage, pos: int, last: Position) -> None:
        if pos != last.pos or _envelope_id(message) != last.id:
            raise _Missed(f"expected offset {last.pos}, got {pos}")

    def _take(self, message: DeliveredMessage, pos: int) -> set[str]:
        """Add one envelope to the ring; returns the tenants it is about."""
        try:
            envelope = FactsEnvelope.model_validate_json(message.body)
        except ValidationError as exc:
            # Not readable for us, but it has a place in the stream: the position must move on.
            log.error("envelope_unreadable", errors=exc.error_count())  # noqa: TRY400 - a traceback holds its text
            self.ring.append(Entry(pos, _envelope_id(message), self._clock().timestamp(), ()))
            return set()
        pushes: list[Push] = []
        for change in envelope.changes:
            pushes.extend(self._pushes(change))
        published_at = min(envelope.published_at, self._clock()).timestamp()
        self.ring.append(Entry(pos, _envelope_id(message), published_at, tuple(pushes)))
        marker = self._markers.get(envelope.event_id)
        if marker is not None:
            marker.set()
        return {push.tenant_id for push in pushes}

    def _pushes(self, change: Change) -> list[Push]:
        if (
            change.v is not None
            and change.conversation_id is not None
            and not self._seen.is_new(change.conversation_id, change.v)
        ):
            return []
        pushes: list[Push] = []
        for event in change.events:
            data: object = event.data
            if event.type.startswith(CHANNEL_EVENTS):
                self._channels.spoil(change.tenant_id)
                self.on_channels(change.tenant_id)
                try:
                    view = ChannelView.model_validate(event.data)
                except ValidationError:
                    continue  # deleted or in words we do not know: who may see what is asked of inbox
                data = to_channel_out(view, self._manifests).model_dump(mode="json")
            if event.type == MESSAGE_CREATED and change.conversation_id is not None:
                author = event.data.get("author")
                if isinstance(author, dict) and author.get("kind") == AuthorKind.OPERATOR:
                    self.on_answer(change.conversation_id, str(author.get("id")))
            text = json.dumps({"type": event.type, "data": data}, ensure_ascii=False, separators=(",", ":"))
            first = not pushes
            pushes.append(
                Push(
                    tenant_id=change.tenant_id,
                    channel_id=change.channel_id,
                    user_id=change.user_id,
                    data=text,
                    traceparent=change.traceparent if first else None,
                    received_at=change.received_at.timestamp() if first and change.received_at else None,
                )
            )
        return pushes

    async def _mark(self) -> None:
        """Prove again and again that what is published reaches us, soon after each other at first."""
        pause = MARK_FIRST_SECONDS
        while True:
            marker = self._envelope([])
            came_back = asyncio.Event()
            self._markers[marker.event_id] = came_back
            try:
                async with asyncio.timeout(MARKER_WITHIN_SECONDS):
                    await self._publish(marker)
                await self._hear(came_back)
                self._silences = 0
            except TimeoutError:
                raise _Deaf from None
            finally:
                del self._markers[marker.event_id]
            if not self.ready.is_set():
                log.info("live_ready", events=self.ring.events)
                self.ready.set()
                self.on_turn()
            await asyncio.sleep(pause)
            pause = min(pause * 2, MARK_EVERY_SECONDS)
            await self._follow_epoch()

    async def _hear(self, came_back: asyncio.Event) -> None:
        """Wait for our marker as long as something comes: minutes of a busy stream are read before it.

        Raises:
            TimeoutError: nothing came at all.
        """
        while not came_back.is_set():
            before = self.ring.last
            try:
                async with asyncio.timeout(MARKER_WITHIN_SECONDS):
                    await came_back.wait()
            except TimeoutError:
                if self.ring.last == before:
                    raise

    async def _publish(self, marker: FactsEnvelope) -> None:
        outgoing = self._outgoing(MARKER_KEY, marker)
        while True:
            try:
                return await self._publisher.publish(outgoing)
            except PublishUnknown:
                # It has a connection of its own, which may come back later than the one we read from.
                await asyncio.sleep(PUBLISH_AGAIN_SECONDS)

    def _envelope(self, changes: list[Change]) -> FactsEnvelope:
        return FactsEnvelope(
            type="facts.v1",
            event_id=new_id(),
            partition=None,
            published_at=self._clock(),
            changes=changes,
        )

    @staticmethod
    def _outgoing(routing_key: str, envelope: FactsEnvelope) -> Outgoing:
        return Outgoing(
            exchange=FACTS,
            routing_key=routing_key,
            body=envelope.model_dump_json().encode(),
            event_id=envelope.event_id,
            type=envelope.type,
        )

    async def _follow_epoch(self) -> None:
        try:
            epoch = (await self._inbox.live()).epoch
        except Problem:
            return  # inbox is away: the stream is still there, as the marker told
        if epoch != self.epoch:
            raise _Moved(epoch)

    async def _watch(self, connection: AbstractConnection, channel: UnderlayChannel) -> None:
        # Looked at, not waited for: of a connection that is lost the client completes no future of ours.
        while not (connection.is_closed or channel.is_closed):  # noqa: ASYNC110
            await asyncio.sleep(CHECK_SECONDS)  # pace: see above
        raise ConnectionError("the connection to RabbitMQ was lost")

    async def _not_found(self, group: BaseExceptionGroup[ChannelNotFoundEntity]) -> None:
        """Renew a stream that is gone; wait for one that RabbitMQ is only starting."""
        if any(_IS_DOWN in str(exc) for exc in group.exceptions):
            now = time.monotonic()
            if self._down_since is None:
                self._down_since = now
            if now - self._down_since < DOWN_SECONDS:
                log.info("live_stream_starting")
                return
        await self._renew()

    async def _heard_nothing(self) -> None:
        """Attach again where we stopped: that loses nothing. Begin anew only if that was in vain as well."""
        self._silences += 1
        log.warning("live_stream_silent", times=self._silences)
        if self._silences == 1:
            return
        try:
            epoch = (await self._inbox.live()).epoch
        except Problem:
            epoch = self.epoch
        self._restart(epoch)

    async def _renew(self) -> None:
        try:
            epoch = (await self._inbox.renew_live(self.epoch)).epoch
        except Problem as exc:
            log.warning("live_renew_failed", code=exc.code)
            return
        log.warning("live_stream_renewed")
        self._restart(epoch)

    def _restart(self, epoch: str) -> None:
        self.ready.clear()
        self._down_since = None
        self._silences = 0
        self.ring.reset(epoch)
        # What inbox published before must not be taken for seen: nobody has it in the new ring.
        self._seen.clear()
        self.generation += 1
        self.on_turn()


def _offset(message: DeliveredMessage) -> int:
    return int(cast("int", (message.header.properties.headers or {})["x-stream-offset"]))


def _envelope_id(message: DeliveredMessage) -> str:
    return str((message.header.properties.headers or {}).get("x-event-id", ""))


def _reasons(group: BaseExceptionGroup) -> list[str]:
    return sorted({type(exc).__name__ for exc in group.exceptions})
