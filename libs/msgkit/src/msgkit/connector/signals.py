"""What the client's phone shows of us: his message was read, somebody types. Best effort, in memory.

Nothing waits for a signal and none is repeated: one that comes late would lie.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from faststream import AckPolicy
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange, RabbitMessage, RabbitQueue
from pydantic import ValidationError

from msgkit.connector.accounts import AccountStore
from msgkit.connector.contract import Account, SignalsChats
from msgkit.connector.credentials import EnvelopeInvalid
from msgkit.connector.errors import PROVIDER_ERRORS, CredentialsInvalid, Throttled
from msgkit.connector.people import People
from msgkit.contracts.events import ReadChat
from msgkit.contracts.ids import new_id, partition_of
from msgkit.contracts.presence import PRESENCE as NOTICE
from msgkit.contracts.presence import TypingNoticed
from msgkit.contracts.topology import PRESENCE
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.membership import Membership
from msgkit.runtime.mongo import StoreUnavailable

log = get_logger(__name__)

Kind = Literal["read", "typing"]

EVERY_S: dict[Kind, float] = {"read": 2.0, "typing": 15.0}
"""At most one call per conversation in this time; a reading that comes meanwhile waits, typing is dropped."""
WITHIN: dict[Kind, timedelta] = {"read": timedelta(minutes=5), "typing": timedelta(seconds=10)}
"""What is older is not shown: readings of an outage are still true for a while, typing is not."""
CALL_SECONDS = 10.0
DRAIN_SECONDS = 3.0
KEPT = 1_000
"""More conversations are not kept waiting."""
REMEMBERED = 2_000
"""Conversations whose clients are known without asking the store, those read last."""
AT_ONCE = 8
PAUSE_MAX_S = 24 * 3600.0
_TYPING = "typing.v1"
_FAILURES: tuple[type[Exception], ...] = (*PROVIDER_ERRORS, TimeoutError, StoreUnavailable, EnvelopeInvalid)


@dataclass(frozen=True, slots=True)
class _Signal:
    """One thing to show in one conversation."""

    kind: Kind
    word: ReadChat | TypingNoticed

    @property
    def key(self) -> tuple[Kind, str]:
        return self.kind, self.word.conversation_id


class Signals:
    """Signals of the channels this replica owns."""

    def __init__(
        self,
        *,
        connector: SignalsChats,
        accounts: AccountStore,
        membership: Membership,
        people: People | None,
        broker: RabbitBroker | None,
        clock: Clock = utc_now,
    ) -> None:
        """
        Args:
            people: knows who a conversation is with; without it those are told of typing whom we lately
                told of a reading.
            broker: to be started here; None: typing is not listened to.
        """
        self._connector = connector
        self._accounts = accounts
        self._membership = membership
        self._people = people
        self._broker = broker
        self._clock = clock
        self._waiting: dict[tuple[Kind, str], _Signal] = {}
        self._last_read: dict[str, ReadChat] = {}
        """Conversation → who it is with: nobody types an answer to what he has not read."""
        self._said_at: dict[tuple[Kind, str], float] = {}
        self._out: set[tuple[Kind, str]] = set()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._draining = False

    def read(self, orders: Iterable[ReadChat]) -> None:
        """Show soon that these were read. Never waits and never raises."""
        for order in orders:
            self._remember(order)
            known = self._waiting.get(("read", order.conversation_id))
            if known is not None and isinstance(known.word, ReadChat) and known.word.read_at > order.read_at:
                continue
            self._put(_Signal("read", order))

    def _remember(self, order: ReadChat) -> None:
        self._last_read.pop(order.conversation_id, None)
        self._last_read[order.conversation_id] = order
        if len(self._last_read) > REMEMBERED:
            del self._last_read[next(iter(self._last_read))]

    def hear(self, notice: TypingNoticed) -> None:
        """Show that somebody types, if that conversation is ours. Never waits and never raises."""
        if partition_of(notice.channel_id) not in self._membership.owned:
            return
        signal = _Signal("typing", notice)
        if self._pause_s(signal) <= 0:
            self._put(signal)

    def _put(self, signal: _Signal) -> None:
        if self._draining or (len(self._waiting) >= KEPT and signal.key not in self._waiting):
            _count(signal, None, "dropped")
            return
        self._waiting[signal.key] = signal
        self._wake.set()

    async def run(self) -> None:
        """Show them for ever."""
        async with asyncio.TaskGroup() as tasks:
            if self._broker is not None:
                tasks.create_task(self._listen(self._broker))
            while True:
                self._wake.clear()
                pause_s = self._start(tasks)
                try:
                    async with asyncio.timeout(pause_s):
                        await self._wake.wait()
                except TimeoutError:
                    continue

    async def drain(self) -> None:
        """Take nothing new and give the calls that are out a moment."""
        self._draining = True
        self._waiting.clear()
        try:
            async with asyncio.timeout(DRAIN_SECONDS):
                await self._idle.wait()
        except TimeoutError:
            log.info("signals_left", count=len(self._out))

    def _start(self, tasks: asyncio.TaskGroup) -> float | None:
        """Start what may be said now; returns after how many seconds to look again, None: when woken."""
        if len(self._said_at) > KEPT:
            now = time.monotonic()
            self._said_at = {key: at for key, at in self._said_at.items() if now - at < EVERY_S[key[0]]}
        pauses = []
        for key, signal in list(self._waiting.items()):
            pause_s = self._pause_s(signal)
            if pause_s > 0:
                pauses.append(pause_s)
            elif key not in self._out and len(self._out) < AT_ONCE:
                del self._waiting[key]
                self._said_at[key] = time.monotonic()
                self._out.add(key)
                self._idle.clear()
                tasks.create_task(self._say(signal))
        return min(pauses, default=None)

    def _pause_s(self, signal: _Signal) -> float:
        said_at = self._said_at.get(signal.key)
        return 0.0 if said_at is None else said_at + EVERY_S[signal.kind] - time.monotonic()

    async def _say(self, signal: _Signal) -> None:
        account: Account | None = None
        try:
            async with asyncio.timeout(CALL_SECONDS):
                account = await self._accounts.get(signal.word.channel_id)
                is_said = account is not None and await self._call(signal, account)
            _count(signal, account, "ok" if is_said else "skipped")
        except _FAILURES as exc:
            _count(signal, account, type(exc).__name__)
            log.debug("signal_lost", signal=signal.kind, reason=type(exc).__name__)
            if account is not None:
                await self._respect(exc, account)
        except Exception:
            # Our bug or the connector's: nobody's message may suffer from it.
            _count(signal, account, "bug")
            log.exception("signal_failed", signal=signal.kind)
        finally:
            self._out.discard(signal.key)
            if not self._out:
                self._idle.set()
            self._wake.set()

    async def _call(self, signal: _Signal, account: Account) -> bool:
        word, now = signal.word, self._clock()
        said_at = word.read_at if isinstance(word, ReadChat) else word.at
        if (
            account.tenant_id != word.tenant_id
            or account.state != "active"
            or (account.paused_until is not None and account.paused_until > now)
            or now - said_at > WITHIN[signal.kind]
        ):
            return False
        if isinstance(word, ReadChat):
            address: str | None = word.contact_key
            if self._people is not None:
                address = await self._people.address_of(word.channel_id, word.contact_key)
            await self._connector.mark_read(address or word.contact_key, word.provider_id, account)
            return True
        if self._people is None:
            read = self._last_read.get(word.conversation_id)
            if read is None or (read.channel_id, read.tenant_id) != (word.channel_id, word.tenant_id):
                return False
            await self._connector.show_typing(read.contact_key, read.provider_id, account)
            return True
        contact = await self._people.contact(word.conversation_id)
        if contact is None or contact.channel_id != word.channel_id or not contact.last_inbound_provider_id:
            return False
        await self._connector.show_typing(contact.address, contact.last_inbound_provider_id, account)
        return True

    async def _respect(self, exc: Exception, account: Account) -> None:
        """What the messenger said of the whole channel holds for messages too."""
        try:
            if isinstance(exc, CredentialsInvalid):
                await self._accounts.refused(account, exc.text)
            elif isinstance(exc, Throttled) and not exc.only_this_contact:
                seconds = min(max(exc.retry_after_seconds, 0.0), PAUSE_MAX_S)
                await self._accounts.pause(account.channel_id, self._clock() + timedelta(seconds=seconds))
        except StoreUnavailable as gone:
            log.warning("signal_outcome_not_written", reason=str(gone))  # the next send hears it again

    async def _listen(self, broker: RabbitBroker) -> None:
        try:
            await broker.start()
            await asyncio.Event().wait()
        finally:
            try:
                async with asyncio.timeout(DRAIN_SECONDS):
                    await broker.stop()
            except TimeoutError:
                log.info("presence_not_closed")


def _count(signal: _Signal, account: Account | None, outcome: str) -> None:
    kind = account.kind if account is not None else getattr(signal.word, "channel_kind", "")
    metrics.signals_total.labels(kind=kind, signal=signal.kind, outcome=outcome).inc()


def listen_to_typing(broker: RabbitBroker, signals: Signals, service: str, instance: str) -> None:
    """Hear operators typing, in a queue of this replica's own, which goes when the replica goes."""
    # A name of this very process: the broker may hold that of its predecessor locked for a moment.
    name = f"{service}.presence.{instance}.{new_id()[:8]}"
    queue = RabbitQueue(name, durable=False, exclusive=True, auto_delete=True, routing_key="#")
    exchange = RabbitExchange(PRESENCE, type=ExchangeType.FANOUT, durable=True)

    @broker.subscriber(queue, exchange, ack_policy=AckPolicy.ACK)
    async def on_presence(message: RabbitMessage) -> None:
        if message.raw_message.type != _TYPING:
            return
        try:
            notice = NOTICE.validate_json(message.body)
        except ValidationError as exc:
            log.warning("notice_unreadable", errors=exc.error_count())
            return
        if isinstance(notice, TypingNoticed):
            signals.hear(notice)
