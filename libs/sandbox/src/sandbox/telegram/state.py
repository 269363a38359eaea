"""What Telegram knows: bots, people, dialogues, and the numbers it gives out.

Everything lives in memory. With a state file, webhooks, people and the counters of ids outlive the process
(so nothing new is ever taken for a repeat); dialogues, pending updates, faults and the ledger do not. Without
one a restart is a new server: bots have no webhook until `setWebhook` is called again.
"""

import asyncio
import json
import os
import random
import re
import secrets
import time
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from sandbox.telegram.files import StoredFile

MAX_MESSAGES_PER_CHAT = 10_000
"""A phone shows the newest messages; a run of the sandbox stays bounded."""

MAX_PRESSES_PER_CHAT = 200

ID_BLOCK = 10_000
"""Ids are reserved in the state file in blocks: after a crash the next block is used, none is given twice."""

_CHANNEL = re.compile(r"/webhooks/telegram_bot/([A-Za-z0-9_-]+)/?$")

_FIRST_NAMES = {
    "Олександр": "oleksandr", "Наталія": "nataliia", "Ірина": "iryna", "Андрій": "andrii", "Юлія": "yuliia",
    "Богдан": "bohdan", "Світлана": "svitlana", "Дмитро": "dmytro", "Катерина": "kateryna", "Василь": "vasyl",
    "Оксана": "oksana", "Сергій": "serhii", "Галина": "halyna", "Роман": "roman", "Соломія": "solomiia",
    "Петро": "petro",
}  # fmt: skip
_LAST_NAMES = {
    "Коваленко": "kovalenko", "Шевченко": "shevchenko", "Бондаренко": "bondarenko", "Ткачук": "tkachuk",
    "Кравченко": "kravchenko", "Мельник": "melnyk", "Поліщук": "polishchuk", "Савченко": "savchenko",
    "Гончаренко": "honcharenko", "Левченко": "levchenko", "Руденко": "rudenko", "Мороз": "moroz",
}  # fmt: skip
_DEMO_NAMES = {"olena": "Олена", "taras": "Тарас", "maria": "Марія"}


class User(BaseModel):
    """A person with a phone; the same person for every bot."""

    model_config = ConfigDict(frozen=True)

    client: str
    id: int
    first_name: str
    last_name: str | None = None
    username: str | None = None
    language_code: str = "uk"
    phone_number: str

    @property
    def full_name(self) -> str:
        """Name as the phone book would show it."""
        return self.first_name if self.last_name is None else f"{self.first_name} {self.last_name}"


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


class People:
    """Everybody who has a phone. The short id is the key: the same id is the same person, for ever."""

    def __init__(self, users: dict[str, User], changed: Callable[[], None]) -> None:
        self._users = users
        self._by_id = {user.id: user for user in users.values()}
        self._changed = changed

    def get(self, client: str, name: str | None = None) -> User:
        """The person behind the short id; made at the first use, renamed when `name` is given."""
        known = self._users.get(client)
        if known is not None and (name is None or known.full_name == name):
            return known
        person = _new_user(client) if known is None else known
        if name is not None:
            first, _, last = name.partition(" ")
            person = person.model_copy(update={"first_name": first, "last_name": last or None})
        self._users[client] = person
        self._by_id[person.id] = person
        self._changed()
        return person

    def by_id(self, user_id: int) -> User | None:
        """The person with this Telegram id."""
        return self._by_id.get(user_id)

    def all(self) -> dict[str, User]:
        """Everybody, by short id."""
        return dict(self._users)


class Telegram:
    """The whole of Telegram, as far as this sandbox goes."""

    def __init__(
        self, accounts: Sequence[BotAccount], state_file: Path | None, clock: Callable[[], float] = time.time
    ) -> None:
        self.clock = clock
        self._state_file = state_file
        self._unsaved = asyncio.Event()
        memory = _load(state_file)
        self.people = People(memory.users, self._unsaved.set)
        self.bots: dict[str, Bot] = {}
        # Without a state file the numbers start from the time, so that a restart does not give old ids again.
        seconds = int(clock()) - 1_767_225_600  # since 2026-01-01
        for account in accounts:
            fresh = _BotMemory(update_id=100_000_000 + seconds * 20, message_id=seconds * 20)
            bot = Bot(account, memory.bots.get(account.id, fresh), self._unsaved.set)
            self.bots[account.token] = bot
        self._unsaved.set()

    def changed(self) -> None:
        """Something the state file keeps is new."""
        self._unsaved.set()

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
        """Write the state file whenever something is new; at most five times a second."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            await asyncio.to_thread(_save, self._state_file, self._memory())
            await asyncio.sleep(0.2)

    def save(self) -> None:
        """Write the state file now."""
        _save(self._state_file, self._memory())

    def _memory(self) -> Memory:
        bots = {bot.account.id: bot.remember() for bot in self.bots.values()}
        return Memory(users=self.people.all(), bots=bots)


def _save(state_file: Path | None, memory: Memory) -> None:
    """Replace the file in one step; readable by its owner only, it holds webhook secrets."""
    if state_file is None:
        return
    state_file.parent.mkdir(parents=True, exist_ok=True)
    draft = state_file.with_suffix(".draft")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(memory.model_dump(mode="json"), file, ensure_ascii=False, indent=1)
    draft.replace(state_file)


def _load(state_file: Path | None) -> Memory:
    if state_file is None or not state_file.exists():
        return Memory()
    return Memory.model_validate_json(state_file.read_text(encoding="utf-8"))


def _new_user(client: str) -> User:
    number = zlib.crc32(client.encode())
    dice = random.Random(number)  # noqa: S311  # a name, the same for the same short id
    phone_number = f"38067{dice.randrange(10_000_000):07d}"
    user_id = 5_000_000_000 + number
    if client in _DEMO_NAMES:
        return User(
            client=client,
            id=user_id,
            first_name=_DEMO_NAMES[client],
            username=f"{client}_demo",
            phone_number=phone_number,
        )
    first = dice.choice(list(_FIRST_NAMES))
    last = dice.choice(list(_LAST_NAMES))
    username = f"{_FIRST_NAMES[first]}_{_LAST_NAMES[last]}_{number % 1000}"
    return User(
        client=client,
        id=user_id,
        first_name=first,
        last_name=last if dice.random() < 0.8 else None,
        username=username if dice.random() < 0.6 else None,
        phone_number=phone_number,
    )
