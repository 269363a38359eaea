"""Webhooks by WhatsApp's rules: signed by the app, repeated ever more rarely for seven days, then lost.

Meta promises no order. Here a person's webhooks keep theirs (the next waits until the one before is taken or
lost) unless a fault reorders them; a batch goes by itself. Meta publishes the seven days, not the waits and
not the time it waits for an answer: those are this sandbox's. All of them are divided by the pace.
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
from sandbox.whatsapp import payloads
from sandbox.whatsapp.codes import CALLBACK_FAILED, GraphRefusal
from sandbox.whatsapp.state import Chat, Json, Number

LIFE_SECONDS = 7 * 24 * 3600.0
FIRST_WAIT_SECONDS = 5.0
LONGEST_WAIT_SECONDS = 12 * 3600.0
ANSWER_TIMEOUT_SECONDS = 10.0
CONNECTIONS = 40
SIGNATURE_HEADER = "X-Hub-Signature-256"
MAX_CALLBACK_CHARS = 200
"""Source: the fact sheet, 4."""


@dataclass(slots=True)
class _Batch:
    """Changes that wait for others, to go with them in one POST."""

    fault: Fault
    changes: list[payloads.Change] = field(default_factory=list)
    updates: list[Update] = field(default_factory=list)
    timer: asyncio.TimerHandle | None = None


class WhatsAppDelivery(Delivery):
    """All webhooks about one number that were not answered with 200."""

    answer_timeout_seconds = ANSWER_TIMEOUT_SECONDS

    def __init__(
        self,
        number: Number,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Callable[[], float],
        pace: Pace,
    ) -> None:
        super().__init__(http, faults, ledger, clock, pace)
        self.number = number
        self.pace = pace
        self._count = int(clock())
        self._batch: _Batch | None = None

    @property
    def channel_id(self) -> str | None:
        return self.number.channel_id

    def wants(self, changed: str) -> bool:
        """Whether the app subscribed to this field."""
        hook = self.number.callback
        if hook is None:
            return False
        fields = hook.fields if self.number.app.hook is None else self.number.app.hook.fields
        return fields is None or changed in fields

    def tell(
        self,
        changed: str,
        value: Json,
        *,
        kind: str,
        chat: Chat | None = None,
        message_id: str | None = None,
        text: str | None = None,
        watcher: Watcher | None = None,
        on_answer: Callable[[bytes], None] | None = None,
    ) -> int | None:
        """Send a change; None when the app does not want this field.

        Args:
            changed: `field` of the change.
            kind: what faults and the ledger call it: `message`, `status.read`, `history`…
        """
        if not self.wants(changed):
            return None
        change = payloads.Change(self.number.account.waba_id, changed, value)
        update = self._update(b"", kind, chat, message_id, text)
        update.watcher, update.on_answer = watcher, on_answer
        fault = self._faults.for_batch(self.channel_id, update.client, kind)
        if fault is not None or self._batch is not None:
            self._gather(change, update, fault)
        else:
            update.body = payloads.encoded(payloads.payload([change], "changes"))
            self.put(update)
        return update.id

    def tell_raw(self, payload: Json, chat: Chat | None) -> int | None:
        """A POST of any shape, signed like the others."""
        update = self._update(payloads.encoded(payload), "raw", chat, None, None)
        self.put(update)
        return update.id

    def drop_pending(self) -> None:
        """Forget everything that is queued, and what was gathered."""
        if self._batch is not None and self._batch.timer is not None:
            self._batch.timer.cancel()
        self._batch = None
        super().drop_pending()

    def wake(self) -> None:
        """There is a callback again: what waits goes out."""
        self._wake.set()

    async def shake_hands(self, url: str, verify_token: str) -> None:
        """Ask an address for the challenge, as Meta does before it accepts it.

        Raises:
            GraphRefusal: it did not give the challenge back.
        """
        challenge = str(secrets.randbelow(10**10))
        query = {"hub.mode": "subscribe", "hub.verify_token": verify_token, "hub.challenge": challenge}
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
        status, reason, body = 0, "", b""
        error: str | None = None
        started = time.monotonic()
        try:
            async with self._http.get(url, params=query, timeout=timeout, allow_redirects=False) as answer:
                status, reason = answer.status, answer.reason or ""
                body = await answer.content.read(1000)
        except TimeoutError:
            error = "curl_errno = 28; curl_error = Operation timed out; HTTP Status Code = 0"
        except (aiohttp.ClientError, aiohttp.InvalidURL):
            error = "curl_errno = 7; curl_error = Failed to connect; HTTP Status Code = 0"
        if error is None and status != 200:
            error = f"HTTP Status Code = {status}; HTTP Message = {reason}"
        elif error is None and body.strip() != challenge.encode():
            error = "The challenge in the response does not match; HTTP Status Code = 200"
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
            words = "Callback verification failed with the following errors"
            raise GraphRefusal(CALLBACK_FAILED, message=f"(#{CALLBACK_FAILED}) {words}: {error}")

    def _update(
        self, body: bytes, kind: str, chat: Chat | None, message_id: str | None, text: str | None
    ) -> Update:
        client = "" if chat is None else chat.user.client
        number = self._next_number()
        return Update(
            id=number,
            kind=kind,
            queue=("whatsapp", client or f"account {number}"),
            body=body,
            client=client,
            chat_id="" if chat is None else chat.identity.wa_id,
            message_id=message_id,
            text=text,
            expires_at=self._clock() + LIFE_SECONDS / self._pace.divisor,
        )

    def _gather(self, change: payloads.Change, update: Update, fault: Fault | None) -> None:
        batch = self._batch
        if batch is None:
            assert fault is not None
            batch = self._batch = _Batch(fault)
            loop = asyncio.get_running_loop()
            batch.timer = loop.call_later(fault.seconds, self._send_batch)
        batch.changes.append(change)
        batch.updates.append(update)
        if len(batch.updates) >= batch.fault.size:
            self._send_batch()

    def _send_batch(self) -> None:
        batch, self._batch = self._batch, None
        if batch is None:
            return
        if batch.timer is not None:
            batch.timer.cancel()
        payload = payloads.payload(batch.changes, batch.fault.shape)
        whole = self._update(payloads.encoded(payload), "batch", None, None, None)
        whole.parts = tuple(batch.updates)
        self.put(whole)

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    def _target(self, update: Update | None) -> Target | None:
        hook = self.number.callback
        if hook is None:
            return None
        if update is None:
            return Target(hook.url, {})
        sealed = payloads.signature(self.number.account.app_secret, update.body)
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sealed}
        return Target(hook.url, {**headers, "User-Agent": "facebookexternalua"})

    def _connections(self) -> int:
        return CONNECTIONS

    def _is_taken(self, status: int) -> bool:
        return status == 200

    def _wait_seconds(self, update: Update) -> float:
        return min(FIRST_WAIT_SECONDS * 2.0 ** min(update.failures - 1, 30), LONGEST_WAIT_SECONDS)

    def _is_too_late(self, update: Update, delay: float) -> bool:
        return self._clock() + delay / self._pace.divisor > update.expires_at
