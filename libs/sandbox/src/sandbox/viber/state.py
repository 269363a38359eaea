"""What Viber knows: bots, who subscribed to them, dialogues, and the tokens it gives out.

Everything lives in memory. With a state file, webhooks and subscriptions outlive the process; dialogues,
pending callbacks and files do not. Tokens come from the clock, so a restart gives none twice.
"""

import asyncio
import hashlib
import random
import re
import secrets
import time
import zlib
from base64 import b64encode
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sandbox.files import StoredFile
from sandbox.people import People, User
from sandbox.state_file import StateFile

MAX_MESSAGES_PER_CHAT = 10_000
MAX_FAILURES_PER_CHAT = 50
API_VERSION = 10
"""What a new phone can do; the samples of the fact sheet carry it."""

_CHANNEL = re.compile(r"/webhooks/viber_bot/([A-Za-z0-9_-]+)/?$")
_TOKEN_START = 1_900_000_000_000_000_000
"""Puts the tokens where real ones are: above 5·10^18, far over 2^53, below 2^63."""

Json = dict[str, object]


@dataclass(frozen=True, slots=True)
class Account:
    """A bot as Viber's administration page made it."""

    token: str = field(repr=False)
    name: str
    uri: str

    @property
    def number(self) -> int:
        """A short number that names the bot among all bots of the sandbox."""
        return zlib.crc32(f"viber:{self.uri}".encode())

    @property
    def id(self) -> str:
        """The `id` of `get_account_info`."""
        return f"pa:{75_000_000_000_000_000_000 + self.number}"


class Hook(BaseModel):
    """Where a bot wants its callbacks, and which."""

    model_config = ConfigDict(frozen=True)

    url: str
    event_types: tuple[str, ...] | None = None
    """None: all of them."""
    send_name: bool = False
    send_photo: bool = False


@dataclass(slots=True)
class PhoneMessage:
    """One bubble. `content` is the part of Viber's message that depends on its kind."""

    token: int
    from_client: bool
    kind: str
    text: str
    content: Json
    at: float
    state: str = "sent"
    file: StoredFile | None = None
    keyboard: Json | None = None
    shown: bool = True
    is_welcome: bool = False


@dataclass(frozen=True, slots=True)
class Failure:
    """A message the API took and the phone could not show."""

    token: int
    reason: str
    at: float


@dataclass(slots=True)
class Chat:
    """The dialogue of one client with one bot."""

    user: User
    user_id: str
    """Viber's id of the person: another one for each bot."""
    opened: bool = False
    subscribed: bool = False
    unsubscribed: bool = False
    """Was subscribed and left."""
    devices: int = 1
    keyboard: Json | None = None
    tracking_data: str | None = None
    """What came with the last message of the bot; goes back with each message of the client."""
    wrote_at: float | None = None
    details_asked: deque[float] = field(default_factory=lambda: deque(maxlen=2))
    messages: deque[PhoneMessage] = field(default_factory=lambda: deque(maxlen=MAX_MESSAGES_PER_CHAT))
    failures: deque[Failure] = field(default_factory=lambda: deque(maxlen=MAX_FAILURES_PER_CHAT))
    watchers: set[asyncio.Event] = field(default_factory=set)

    @property
    def device_os(self) -> str:
        """Which phone it is: an iPhone takes smaller pictures."""
        return "iOS" if zlib.crc32(self.user.client.encode()) % 2 else "Android"

    @property
    def unread(self) -> list[PhoneMessage]:
        """What the phone shows and the client has not read."""
        return [m for m in self.messages if m.shown and not m.from_client and m.state != "seen"]

    def forget(self) -> None:
        """An empty phone again: this person never met the bot."""
        self.opened = self.subscribed = self.unsubscribed = False
        self.keyboard = self.tracking_data = self.wrote_at = None
        self.devices = 1
        self.messages.clear()
        self.failures.clear()
        self.details_asked.clear()
        self.changed()

    def changed(self) -> None:
        """Wake every phone page that shows this dialogue."""
        for watcher in self.watchers:
            watcher.set()


class Tokens:
    """Message tokens: rising, odd (so no double holds one exactly), never given twice."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._last = 0

    def take(self) -> int:
        """The next token."""
        by_clock = _TOKEN_START + (int(self._clock() * 1000) << 21)
        step = random.randrange(2, 2_000, 2)  # noqa: S311  # tokens are no secrets
        self._last = max(self._last + step, by_clock | 1)
        return self._last


class _BotMemory(BaseModel):
    hook: Hook | None = None
    channel_id: str | None = None
    base: str = ""
    subscribers: tuple[str, ...] = ()


class Memory(BaseModel):
    """What the state file keeps, by the bots' uri."""

    bots: dict[str, _BotMemory] = {}


class Bot:
    """One bot: its account, its webhook and its dialogues."""

    def __init__(self, account: Account, memory: _BotMemory, people: People) -> None:
        self.account = account
        self.hook = memory.hook
        self.channel_id = memory.channel_id
        self.base = memory.base
        """Where the bot reaches this sandbox; addresses of media begin with it."""
        self.chats: dict[str, Chat] = {}
        self._by_user_id: dict[str, Chat] = {}
        for client in memory.subscribers:
            self.chat(people.get(client)).subscribed = True

    def chat(self, person: User) -> Chat:
        """The dialogue with `person`, made at the first look."""
        chat = self.chats.get(person.client)
        if chat is None:
            digest = hashlib.sha256(f"{self.account.uri}:{person.client}".encode()).digest()[:16]
            chat = Chat(person, b64encode(digest).decode())
            self.chats[person.client] = self._by_user_id[chat.user_id] = chat
        chat.user = person
        return chat

    def chat_of(self, user_id: str) -> Chat | None:
        """The dialogue with the person of this Viber id."""
        return self._by_user_id.get(user_id)

    @property
    def address(self) -> str:
        """Its name in the control API: its channel, or before there is one, its uri."""
        return self.channel_id or self.account.uri

    def remember(self) -> _BotMemory:
        """What must outlive the process."""
        return _BotMemory(
            hook=self.hook,
            channel_id=self.channel_id,
            base=self.base,
            subscribers=tuple(client for client, chat in self.chats.items() if chat.subscribed),
        )


class Viber:
    """The whole of Viber, as far as this sandbox goes."""

    def __init__(
        self,
        accounts: Sequence[Account],
        people: People,
        state_file: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.people = people
        self.tokens = Tokens(clock)
        self.bots: dict[str, Bot] = {}
        self._file = StateFile(state_file, Memory, self._memory)
        memory = self._file.load()
        for account in accounts:
            self.bots[account.token] = Bot(account, memory.bots.get(account.uri, _BotMemory()), people)

    def changed(self) -> None:
        """Something the state file keeps is new."""
        self._file.changed()

    def revoke_token(self, bot: Bot) -> str:
        """A new token in the place of the old one, which is refused from now on. A restart brings it back."""
        del self.bots[bot.account.token]
        token = "-".join(secrets.token_hex(8) for _ in range(3))
        bot.account = replace(bot.account, token=token)
        self.bots[token] = bot
        return token

    def learn_channel(self, bot: Bot, url: str) -> None:
        """Read from a webhook's address which channel the bot serves; a channel has one bot."""
        found = _CHANNEL.search(url)
        if found is None:
            return
        for other in self.bots.values():
            if other.channel_id == found.group(1):
                other.channel_id = None
        bot.channel_id = found.group(1)

    def bot_of(self, channel_id: str) -> Bot | None:
        """The bot that serves the channel; its uri names a bot too."""
        return next(
            (bot for bot in self.bots.values() if channel_id in (bot.channel_id, bot.account.uri)), None
        )

    async def keep_saving(self) -> None:
        """Write the state file whenever something is new."""
        await self._file.keep_saving()

    def save(self) -> None:
        """Write the state file now."""
        self._file.save()

    def _memory(self) -> Memory:
        return Memory(bots={bot.account.uri: bot.remember() for bot in self.bots.values()})
