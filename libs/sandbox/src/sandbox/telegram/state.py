"""What Telegram knows: bots, people, dialogues, and the numbers it gives out.

Everything lives in memory. With a state file, webhooks, people and the counters of ids outlive the process
(so nothing new is ever taken for a repeat); dialogues, pending updates, faults and the ledger do not. Without
one a restart is a new server: bots have no webhook until `setWebhook` is called again.
"""

import asyncio
import re
import secrets
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sandbox.files import StoredFile
from sandbox.people import People, User
from sandbox.state_file import StateFile

MAX_MESSAGES_PER_CHAT = 10_000
"""A phone shows the newest messages; a run of the sandbox stays bounded."""

MAX_PRESSES_PER_CHAT = 200

ID_BLOCK = 10_000
"""Ids are reserved in the state file in blocks: after a crash the next block is used, none is given twice."""

_CHANNEL = re.compile(r"/webhooks/telegram_bot/([A-Za-z0-9_-]+)/?$")


@dataclass(frozen=True, slots=True)
class BotAccount:
    """A bot as BotFather made it."""

    id: int
    token: str = field(repr=False)
    username: str
    name: str


class Webhook(BaseModel):
    """Where a bot wants its updates."""

    model_config = ConfigDict(frozen=True)

    url: str
    secret_token: str | None = None
    max_connections: int = 40
    allowed_updates: tuple[str, ...] | None = None


@dataclass(slots=True)
class PhoneMessage:
    """One bubble of a dialogue. `content` is the part of Telegram's `Message` that depends on its kind."""

    message_id: int
    from_client: bool
    kind: str
    content: dict[str, object]
    at: float
    edited_at: float | None = None
    keyboard: dict[str, object] | None = None
    reply_to: int | None = None
    file: StoredFile | None = None

    @property
    def group(self) -> str | None:
        """The album it belongs to."""
        value = self.content.get("media_group_id")
        return value if isinstance(value, str) else None

    @property
    def text(self) -> str:
        """Text or caption; empty when there is none."""
        value = self.content.get("text", self.content.get("caption", ""))
        return value if isinstance(value, str) else ""


@dataclass(slots=True)
class Press:
    """A press on an inline button: a callback query, and what became of it."""

    query_id: str
    user_id: int
    message_id: int
    text: str
    data: str
    at: float
    answered_at: float | None = None
    notice: str | None = None
    show_alert: bool = False


@dataclass(slots=True)
class Chat:
    """The dialogue of one client with one bot, as both of them see it."""

    user: User
    started: bool = False
    blocked: bool = False
    typing_until: float = 0.0
    action: str | None = None
    keyboard: dict[str, object] | None = None
    keyboard_message_id: int | None = None
    notice: str | None = None
    messages: deque[PhoneMessage] = field(default_factory=lambda: deque(maxlen=MAX_MESSAGES_PER_CHAT))
    presses: deque[Press] = field(default_factory=lambda: deque(maxlen=MAX_PRESSES_PER_CHAT))
    watchers: set[asyncio.Event] = field(default_factory=set)

    def message(self, message_id: int) -> PhoneMessage | None:
        """The message with this id if the phone still shows it; the newest are looked at first."""
        return next((m for m in reversed(self.messages) if m.message_id == message_id), None)

    def forget(self) -> None:
        """An empty phone again: nothing was ever written here."""
        self.started = self.blocked = False
        self.typing_until = 0.0
        self.keyboard = self.keyboard_message_id = self.notice = None
        self.action = None
        self.messages.clear()
        self.presses.clear()
        self.changed()

    def changed(self) -> None:
        """Wake every phone page that shows this dialogue."""
        for watcher in self.watchers:
            watcher.set()


class Counter:
    """Ids that grow by one and are never given twice, also over restarts."""

    def __init__(self, start: int, reserve: Callable[[], None]) -> None:
        self._next = start
        self._reserve = reserve
        self.reserved = start + ID_BLOCK

    def take(self) -> int:
        """The next id."""
        value = self._next
        self._next += 1
        if self._next + ID_BLOCK // 2 > self.reserved:
            self.reserved += ID_BLOCK
            self._reserve()
        return value


class _BotMemory(BaseModel):
    webhook: Webhook | None = None
    channel_id: str | None = None
    allowed_updates: tuple[str, ...] | None = None
    commands: dict[str, tuple[dict[str, str], ...]] = {}
    update_id: int
    message_id: int


class Memory(BaseModel):
    """What the state file keeps."""

    users: dict[str, User] = {}
    bots: dict[int, _BotMemory] = {}


class Bot:
    """One bot: its account, its dialogues and its numbers."""

    def __init__(self, account: BotAccount, memory: _BotMemory, reserve: Callable[[], None]) -> None:
        self.account = account
        self.webhook = memory.webhook
        self.channel_id = memory.channel_id
        """Whom the bot serves: the tail of the last webhook address it gave."""
        self.allowed_updates = memory.allowed_updates
        self.update_ids = Counter(memory.update_id, reserve)
        self.message_ids = Counter(memory.message_id, reserve)
        self.chats: dict[int, Chat] = {}
        self.commands = dict(memory.commands)
        """Lists of commands by scope and language, see `commands.py`."""
        self.queries: dict[str, Press] = {}
        """Callback queries not answered yet, by their id."""
        self.polls = False
        """Whether it has ever called getUpdates: such a bot has a phone without a webhook."""

    def chat(self, person: User) -> Chat:
        """The dialogue with `person`, made at the first look."""
        chat = self.chats.get(person.id)
        if chat is None:
            chat = self.chats[person.id] = Chat(person)
        return chat

    @property
    def address(self) -> str:
        """Its name in the control API: its channel, or before there is one, the number in its token."""
        return self.channel_id or str(self.account.id)

    def remember(self) -> _BotMemory:
        """What must outlive the process."""
        return _BotMemory(
            webhook=self.webhook,
            channel_id=self.channel_id,
            allowed_updates=self.allowed_updates,
            commands=self.commands,
            update_id=self.update_ids.reserved,
            message_id=self.message_ids.reserved,
        )


class Telegram:
    """The whole of Telegram, as far as this sandbox goes."""

    def __init__(
        self, accounts: Sequence[BotAccount], state_file: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._file = StateFile(state_file, Memory, self._memory)
        memory = self._file.load()
        self.people = People(memory.users, self._file.changed)
        self.bots: dict[str, Bot] = {}
        # Without a state file the numbers start from the time, so that a restart does not give old ids again.
        seconds = int(clock()) - 1_767_225_600  # since 2026-01-01
        for account in accounts:
            fresh = _BotMemory(update_id=100_000_000 + seconds * 20, message_id=seconds * 20)
            bot = Bot(account, memory.bots.get(account.id, fresh), self._file.changed)
            self.bots[account.token] = bot
        self._file.changed()

    def changed(self) -> None:
        """Something the state file keeps is new."""
        self._file.changed()

    def revoke_token(self, bot: Bot) -> str:
        """As /revoke at BotFather: the old token is refused from now on. A restart brings it back."""
        del self.bots[bot.account.token]
        token = f"{bot.account.id}:{secrets.token_urlsafe(26)}"
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
        """The bot that serves the channel; the number in its token names a bot too."""
        return next(
            (bot for bot in self.bots.values() if channel_id in (bot.channel_id, str(bot.account.id))), None
        )

    async def keep_saving(self) -> None:
        """Write the state file whenever something is new."""
        await self._file.keep_saving()

    def save(self) -> None:
        """Write the state file now."""
        self._file.save()

    def _memory(self) -> Memory:
        bots = {bot.account.id: bot.remember() for bot in self.bots.values()}
        return Memory(users=self.people.all(), bots=bots)
