"""Webhooks by the rules of pages and Instagram: five seconds to answer, a few repeats, and after an hour of
failures the app is unsubscribed: nothing more is delivered until it subscribes again.

Meta publishes the five seconds and the hour; how often it repeats within it is this sandbox's. All waits and
the hour are divided by the pace. A client's webhooks keep their order unless a fault reorders them.
Source: the fact sheet, 1.1.
"""

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import aiohttp

from sandbox.delivery import Delivery, Pace, Target, Update, Watcher
from sandbox.faults import Fault, FaultPlan
from sandbox.ledger import Ledger
from sandbox.meta import payloads
from sandbox.meta.codes import CALLBACK_FAILED, GraphRefusal
from sandbox.meta.network import Meta
from sandbox.meta.state import HOUR, Business, Chat, Json

ANSWER_TIMEOUT_SECONDS = 4.95
"""Five; the client rounds timers of five seconds and more up to whole ones, and six would be too patient."""
LIFE_SECONDS = HOUR
SHORTEST_LIFE_SECONDS = 30.0
"""Real ones: no pace is so fast that a webhook is too old before its first try."""
WAITS_SECONDS = (1.0, 5.0, 30.0, 120.0, 300.0, 600.0)
"""Before each repeat; after the last one the webhook is lost."""
UNSUBSCRIBED_AFTER_SECONDS = HOUR
CONNECTIONS = 40
SIGNATURE_HEADER = "X-Hub-Signature-256"


@dataclass(slots=True)
class _Batch:
    """Items that wait for others, to go with them in one POST."""

    fault: Fault
    items: list[payloads.Item] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class MetaDelivery(Delivery):
    """All webhooks about one page or account that were not answered with 200."""

    answer_timeout_seconds = ANSWER_TIMEOUT_SECONDS

    def __init__(
        self,
        meta: Meta,
        business: Business,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        pace: Pace,
    ) -> None:
        super().__init__(http, faults, ledger, meta.clock, pace)
        self._meta = meta
        self.business = business
        self.pace = pace
        self._count = int(meta.clock())
        self._batch: _Batch | None = None
        self._doubt: asyncio.TimerHandle | None = None
        """Ends the subscription unless something is taken before it fires."""

    @property
    def channel_id(self) -> str | None:
        return self.business.channel_id

    def wants(self, *names: str) -> bool:
        """Whether the app is subscribed to one of these fields."""
        hook, mine = self.business.hook, self._meta.fields_of(self.business)
        if hook is None or mine is None:
            return False
        ticked = hook.fields
        if self.business.account.object == "instagram" and self.business.account.page_id is not None:
            # Through a page the fields stand in the dashboard alone; the page must be subscribed to messages.
            return "messages" in mine and (ticked is None or any(name in ticked for name in names))
        return any(name in mine and (ticked is None or name in ticked) for name in names)

    def tell(
        self,
        names: tuple[str, ...],
        element: Json,
        *,
        kind: str,
        chat: Chat | None = None,
        message_id: str | None = None,
        text: str | None = None,
        standby: bool = False,
        watcher: Watcher | None = None,
        on_answer: Callable[[bytes], None] | None = None,
    ) -> int | None:
        """Send an item; None when the app is not subscribed to it.

        Args:
            names: the fields any of which carries it.
            kind: what faults and the ledger call it: `message`, `echo`, `read`, `delivery`…
            standby: it goes to `standby[]`: another app holds the thread.
        """
        if not self.wants(*(("standby",) if standby else names)):
            return None
        item = payloads.Item(self.business.account.id, "standby" if standby else "messaging", element)
        update = self._update(b"", kind, chat, message_id, text)
        update.watcher, update.on_answer = watcher, on_answer
        fault = self._faults.for_batch(self.channel_id, update.client, kind)
        if fault is not None or self._batch is not None:
            self._gather(item, update, fault)
        else:
            update.body = self._body([item], "entries")
            self.put(update)
        return update.id

    def tell_raw(self, payload: object, chat: Chat | None) -> int | None:
        """A POST of any shape, signed like the others; None while the app is not subscribed."""
        if self._target(None) is None:
            return None
        update = self._update(payloads.encoded(payload), "raw", chat, None, None)
        self.put(update)
        return update.id

    def drop_pending(self) -> None:
        """Forget everything that is queued, and what was gathered."""
        if self._batch is not None and self._batch.timer is not None:
            self._batch.timer.cancel()
        self._batch = None
        self._be_sure()
        super().drop_pending()

    def unsubscribe(self, reason: str) -> None:
        """The app gets nothing more of this page or account; what waited is lost."""
        self._meta.lose(self.business)
        self._lose_waiting(reason)

    def begin(self) -> None:
        """The app is subscribed again: what waited from before is lost, as everything in between."""
        self._lose_waiting("the app was not subscribed")
        self.wake()

    def wake(self) -> None:
        """There is a callback: what waits goes out."""
        self._wake.set()

    async def shake_hands(self, url: str, verify_token: str) -> None:
        """Ask an address for the challenge, as Meta does before it accepts it.

        Raises:
            GraphRefusal: it did not give the challenge back.
        """
        challenge = str(secrets.randbelow(10**10))
        query = {"hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": challenge}
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
        status, body = 0, b""
        error: str | None = None
        started = time.monotonic()
        try:
            async with self._http.get(url, params=query, timeout=timeout, allow_redirects=False) as answer:
                status = answer.status
                body = await answer.content.read(1000)
        except TimeoutError:
            error = "the callback URL timed out"
        except (aiohttp.ClientError, aiohttp.InvalidURL):
            error = "the callback URL couldn't be reached"
        if error is None and status != 200:
            error = f"HTTP Status Code = {status}"
        elif error is None and body.strip() != challenge.encode():
            error = "the challenge in the response does not match"
        self._ledger.webhook(
            channel_id=self.channel_id,
            client="",
            chat_id="",
            message_id=None,
            text=None,
            update_id=self._next_number(),
            kind="handshake",
            attempt=1,
            status=status or None,
            error=error,
            took_ms=(time.monotonic() - started) * 1000,
            fault=None,
        )
        if error is not None:
            raise GraphRefusal(CALLBACK_FAILED, message=f"Callback verification failed: {error}")

    def _lose_waiting(self, reason: str) -> None:
        waiting = list(self._pending.values())
        batch = self._batch
        self.drop_pending()
        for update in [*waiting, *(() if batch is None else batch.updates)]:
            self._give_up(update, reason)

    def _body(self, items: list[payloads.Item], shape: str) -> bytes:
        now_ms = int(self._clock() * 1000)
        told = payloads.payload(self.business.account.object, items, now_ms, shape)
        return payloads.encoded(told)

    def _update(
        self, body: bytes, kind: str, chat: Chat | None, message_id: str | None, text: str | None
    ) -> Update:
        client = "" if chat is None else chat.user.client
        number = self._next_number()
        return Update(
            id=number,
            kind=kind,
            queue=("meta", client or f"account {number}"),
            body=body,
            client=client,
            chat_id="" if chat is None else chat.id,
            message_id=message_id,
            text=text,
            expires_at=self._clock() + max(LIFE_SECONDS / self._pace.divisor, SHORTEST_LIFE_SECONDS),
        )

    def _gather(self, item: payloads.Item, update: Update, fault: Fault | None) -> None:
        batch = self._batch
        if batch is None:
            assert fault is not None
            batch = self._batch = _Batch(fault)
            loop = asyncio.get_running_loop()
            batch.timer = loop.call_later(fault.seconds, self._send_batch)
        batch.items.append(item)
        batch.updates.append(update)
        if len(batch.updates) >= batch.fault.size:
            self._send_batch()

    def _send_batch(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        if batch.timer is not None:
            batch.timer.cancel()
        whole = self._update(self._body(batch.items, batch.fault.shape), "batch", None, None, None)
        whole.parts = tuple(batch.updates)
        self.put(whole)

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    def _target(self, update: Update | None) -> Target | None:
        hook = self.business.hook
        if hook is None or self._meta.fields_of(self.business) is None:
            return None
        if update is None:
            return Target(hook.url, {})
        sealed = payloads.signature(self.business.app.secret, update.body)
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sealed}
        return Target(hook.url, {**headers, "User-Agent": "facebookexternalua"})

    def _connections(self) -> int:
        return CONNECTIONS

    def _is_taken(self, status: int) -> bool:
        return status == 200

    async def _attempt(self, target: Target, update: Update) -> float | None:
        wait = await super()._attempt(target, update)
        if update.acked:
            self._be_sure()
        elif self._doubt is None and self._meta.fields_of(self.business) is not None:
            hour = UNSUBSCRIBED_AFTER_SECONDS / self._pace.divisor
            self._doubt = asyncio.get_running_loop().call_later(
                hour, self.unsubscribe, "the app was unsubscribed after an hour of failures"
            )
        return wait

    def _be_sure(self) -> None:
        if self._doubt is not None:
            self._doubt.cancel()
            self._doubt = None

    def _wait_seconds(self, update: Update) -> float:
        return WAITS_SECONDS[min(update.failures, len(WAITS_SECONDS)) - 1]

    def _is_too_late(self, update: Update, delay: float) -> bool:
        late = self._clock() + delay / self._pace.divisor > update.expires_at
        return late or update.failures > len(WAITS_SECONDS)
