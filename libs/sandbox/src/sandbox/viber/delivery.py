"""Callbacks by Viber's rules: signed, repeated for an hour until a 200, then lost.

Viber promises no order. Here a person's callbacks keep theirs (the next waits until the one before is taken
or lost) unless a fault reorders them. How often Viber repeats and how long it waits for an answer is not
published: the times below are this sandbox's. The hour and the waits are divided by the pace.
"""

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import aiohttp

from sandbox.delivery import Delivery, Pace, Target, Update, Watcher
from sandbox.faults import FaultPlan
from sandbox.ledger import Ledger
from sandbox.viber import payloads
from sandbox.viber.state import Bot, Chat, Json, PhoneMessage

LIFE_SECONDS = 3600.0
"""Source: Viber's FAQ: several repeats during an hour."""
REPEAT_AFTER_SECONDS = (5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0)
ANSWER_TIMEOUT_SECONDS = 15.0
CONNECTIONS = 40
SIGNATURE_HEADER = "X-Viber-Content-Signature"

EVENT_TYPES = (
    "delivered", "seen", "failed", "subscribed", "unsubscribed", "conversation_started", "client_status",
)  # fmt: skip
"""What `event_types` may name; `message` and `webhook` cannot be switched off."""


class ViberDelivery(Delivery):
    """All callbacks of one bot that were not answered with 200."""

    answer_timeout_seconds = ANSWER_TIMEOUT_SECONDS

    def __init__(
        self,
        bot: Bot,
        http: aiohttp.ClientSession,
        faults: FaultPlan,
        ledger: Ledger,
        clock: Callable[[], float],
        pace: Pace,
    ) -> None:
        super().__init__(http, faults, ledger, clock, pace)
        self.bot = bot
        self._count = int(clock())

    @property
    def channel_id(self) -> str | None:
        return self.bot.channel_id

    @property
    def life_seconds(self) -> float:
        """So long, by the wall clock, a callback is repeated and a link to media is good."""
        return LIFE_SECONDS / self._pace.divisor

    def wants(self, event: str) -> bool:
        """Whether the bot asked for callbacks of this kind."""
        hook = self.bot.hook
        if hook is None:
            return False
        return event not in EVENT_TYPES or hook.event_types is None or event in hook.event_types

    def tell(
        self,
        chat: Chat,
        callback: Json,
        *,
        about: PhoneMessage | None = None,
        watcher: Watcher | None = None,
        on_answer: Callable[[bytes], None] | None = None,
    ) -> int | None:
        """Queue a callback if the bot wants its kind; None when it does not.

        Returns:
            A number for the ledger: Viber itself does not number callbacks.
        """
        event = str(callback["event"])
        if not self.wants(event):
            return None
        number = self._next_number()
        self.put(
            Update(
                id=number,
                kind=event,
                queue=("user", chat.user_id),
                body=payloads.encoded(callback),
                client=chat.user.client,
                chat_id=chat.user_id,
                message_id=None if about is None else str(about.token),
                text=None if about is None else about.text,
                expires_at=self._clock() + self.life_seconds,
                watcher=watcher,
                on_answer=on_answer,
            )
        )
        return number

    async def ring(self, url: str) -> str | None:
        """The check of `set_webhook`: one signed `webhook` callback. Returns Viber's words of a failure."""
        number = self._next_number()
        token = number + (1 << 62)
        body = payloads.encoded(payloads.webhook(int(self._clock() * 1000), token))
        target = self._signed(url, body)
        timeout = aiohttp.ClientTimeout(total=ANSWER_TIMEOUT_SECONDS)
        started = time.monotonic()
        status: int | None = None
        path = urlsplit(url).path
        asked = f"Result[HttpRequest[POST {path} HTTP/1.1]@{number:08x} > HttpResponse["
        error: str | None = None
        try:
            async with self._http.post(
                target.url, data=body, headers=target.headers, timeout=timeout
            ) as answer:
                await answer.read()
                status = answer.status
                if status != 200:
                    error = f"{asked}HTTP/1.1 {status} {answer.reason}]@{token & 0xFFFFFFFF:08x}] null"
        except TimeoutError:
            error = f"{asked}null 0 null]@0] java.util.concurrent.TimeoutException"
        except aiohttp.ClientConnectorError:
            error = f"{asked}null 0 null]@0] java.net.ConnectException: Connection refused"
        except (aiohttp.ClientError, aiohttp.InvalidURL):
            error = f"{asked}null 0 null]@0] java.io.IOException: Remotely closed"
        self._ledger.webhook(
            channel_id=self.channel_id,
            client="",
            chat_id="",
            message_id=str(token),
            text=None,
            update_id=number,
            kind="webhook",
            attempt=1,
            status=status,
            error=error,
            took_ms=(time.monotonic() - started) * 1000,
            fault=None,
        )
        return error

    def wake(self) -> None:
        """The bot has a webhook again: what waits goes out."""
        self._wake.set()

    def _next_number(self) -> int:
        self._count += 1
        return self._count

    def _target(self, update: Update | None) -> Target | None:
        hook = self.bot.hook
        if hook is None:
            return None
        return Target(hook.url, {}) if update is None else self._signed(hook.url, update.body)

    def _signed(self, url: str, body: bytes) -> Target:
        """The signature stands in a header and in the address, as captured callbacks show it."""
        sealed = payloads.signature(self.bot.account.token, body)
        headers = {"Content-Type": "application/json", SIGNATURE_HEADER: sealed}
        return Target(f"{url}?sig={sealed}", headers)

    def _connections(self) -> int:
        return CONNECTIONS

    def _is_taken(self, status: int) -> bool:
        return status == 200

    def _wait_seconds(self, update: Update) -> float:
        return REPEAT_AFTER_SECONDS[min(update.failures, len(REPEAT_AFTER_SECONDS)) - 1]

    def _is_too_late(self, update: Update, delay: float) -> bool:
        return self._clock() + delay / self._pace.divisor > update.expires_at
