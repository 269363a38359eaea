"""What becomes of a message the API took: it arrives, is read, or fails; each step is a status.

What a link names is fetched over HTTP, as Meta does. Source: the fact sheet, 1.4 (statuses) and 2.8.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import aiohttp

from sandbox.files import Files, StoredFile, guess_mime
from sandbox.uploads import Arrived
from sandbox.whatsapp import payloads
from sandbox.whatsapp.codes import MEDIA_FAILED, UNDELIVERABLE, WINDOW_CLOSED, GraphRefusal, meaning
from sandbox.whatsapp.delivery import WhatsAppDelivery
from sandbox.whatsapp.media import LIMITS, MAX_BYTES, UPLOADED_SECONDS, MediaDesk, check_size
from sandbox.whatsapp.state import (
    WINDOW_SECONDS,
    Chat,
    Failure,
    Json,
    Number,
    PhoneMessage,
    WhatsApp,
)

FETCH_TIMEOUT_SECONDS = 30.0
_CHUNK_BYTES = 256 * 1024


class NotFetched(Exception):
    """What stands behind a link cannot be sent; the text says why."""


@dataclass(slots=True)
class Sending:
    """A message on its way to a phone."""

    number: Number
    message: PhoneMessage
    chat: Chat | None
    """None: nobody has this phone."""
    recipient: Json = field(default_factory=dict)
    """How a refusal names somebody who is not here."""
    link: str | None = None
    """Where Meta fetches the file."""
    media_type: str | None = None
    fails_with: int | None = None


class Handsets:
    """The phones of everybody, as far as they receive."""

    def __init__(
        self,
        whatsapp: WhatsApp,
        files: Files,
        desk: MediaDesk,
        http: aiohttp.ClientSession,
        delivery: Callable[[Number], WhatsAppDelivery],
    ) -> None:
        self._whatsapp = whatsapp
        self._files = files
        self._desk = desk
        self._http = http
        self._delivery = delivery
        self._waiting: asyncio.Queue[Sending] = asyncio.Queue()

    async def run(self) -> None:
        """Fetch what links name for ever, each by itself."""
        async with asyncio.TaskGroup() as fetches:
            while True:
                fetches.create_task(self._fetch(await self._waiting.get()))

    def receive(self, sending: Sending) -> None:
        """A message the API took. What needs no fetching is on the phone when this returns."""
        chat, message = sending.chat, sending.message
        if chat is not None and message.shown:
            message.shown = not chat.offline
            chat.messages.append(message)
        code = sending.fails_with or self._refusal_of(sending)
        if code is not None:
            self._fail(sending, code)
        elif sending.link is not None:
            message.shown = False
            self._waiting.put_nowait(sending)
        else:
            self._arrive(sending)

    def come_online(self, number: Number, chat: Chat) -> None:
        """The phone is on again: what waited for it arrives."""
        chat.offline = False
        for message in list(chat.messages):
            if message.arrived and not message.shown and message.state == "sent":
                message.shown = True
                self._say(number, chat, message, "delivered")
        chat.changed()

    def tell(self, number: Number, chat: Chat, message: PhoneMessage, state: str) -> int | None:
        """One status; the second one that has a price also tells it."""
        value = payloads.status(number, chat, message, state, self._whatsapp.clock())
        if state in ("delivered", "read"):
            message.billed = True
        return self._delivery(number).tell(
            "messages",
            value,
            kind=f"status.{state}",
            chat=chat,
            message_id=message.id,
            text=message.text or None,
        )

    def _refusal_of(self, sending: Sending) -> int | None:
        chat = sending.chat
        if chat is None or chat.blocked:
            return UNDELIVERABLE
        if sending.message.type == "template":
            return None
        now = self._whatsapp.clock()
        is_open = chat.wrote_at is not None and now - chat.wrote_at < WINDOW_SECONDS
        return None if is_open else WINDOW_CLOSED

    def _arrive(self, sending: Sending) -> None:
        number, chat, message = sending.number, sending.chat, sending.message
        assert chat is not None
        chat.typing_until = 0.0
        message.arrived = True
        if message.statuses is not None:
            for state in message.statuses:
                self._say(number, chat, message, state)
        else:
            self.tell(number, chat, message, "sent")
            if not chat.offline and message.type != "reaction":  # of a reaction nothing more is told
                self._say(number, chat, message, "delivered")
        chat.changed()

    def _say(self, number: Number, chat: Chat, message: PhoneMessage, state: str) -> None:
        message.rise(state)
        self.tell(number, chat, message, state)

    def _fail(self, sending: Sending, code: int, reason: str | None = None) -> None:
        number, chat, message = sending.number, sending.chat, sending.message
        message.state, message.shown = "failed", False
        recipient = sending.recipient
        now = self._whatsapp.clock()
        if chat is not None:
            recipient = chat.identity.recipient()
            chat.failures.append(Failure(message.id, code, reason or meaning(code).title, now))
            chat.changed()
        value = payloads.failed(number, recipient, message, now, code)
        self._delivery(number).tell(
            "messages",
            value,
            kind="status.failed",
            chat=chat,
            message_id=message.id,
            text=message.text or None,
        )

    async def _fetch(self, sending: Sending) -> None:
        assert sending.link is not None
        assert sending.media_type is not None
        assert sending.chat is not None
        try:
            sending.message.file = await self._fetched(sending, sending.link, sending.media_type)
        except (NotFetched, GraphRefusal) as reason:
            self._fail(sending, MEDIA_FAILED, str(reason))
        else:
            sending.message.shown = not sending.chat.offline
            self._arrive(sending)

    async def _fetched(self, sending: Sending, link: str, media_type: str) -> StoredFile:
        place = self._files.draft()
        try:
            size, mime = await self._load(link, LIMITS[media_type][1], place)
            name = PurePosixPath(urlsplit(link).path).name or None
            if mime == "application/octet-stream":
                mime = guess_mime(name)
            types = LIMITS[media_type][0]
            if types and mime not in types:
                raise NotFetched(f"{media_type}: {mime} is not supported")
            check_size(media_type, mime, size)
            arrived = Arrived(place, name, mime, size)
            chat = sending.chat
            client = "" if chat is None else chat.user.client
            media = await self._desk.keep(sending.number, arrived, UPLOADED_SECONDS, client)
            return media.file
        finally:
            place.unlink(missing_ok=True)

    async def _load(self, url: str, limit_bytes: int, place: Path) -> tuple[int, str]:
        """Size in bytes and type of what stands behind an address."""
        size = 0
        timeout = aiohttp.ClientTimeout(total=FETCH_TIMEOUT_SECONDS)
        try:
            async with self._http.get(
                url, timeout=timeout, max_redirects=3, headers={"Accept-Encoding": "identity"}
            ) as answer:
                if answer.status != 200:
                    raise NotFetched(f"the link answered {answer.status}")
                with place.open("wb") as file:
                    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
                        size += len(chunk)
                        if size > min(limit_bytes, MAX_BYTES):
                            raise NotFetched(f"the file is over the limit of {limit_bytes} bytes")
                        file.write(chunk)
                mime = answer.content_type
        except (aiohttp.ClientError, aiohttp.InvalidURL, TimeoutError) as exc:
            raise NotFetched(f"the link cannot be fetched: {type(exc).__name__}") from exc
        if size == 0:
            raise NotFetched("the file is empty")
        return size, mime
