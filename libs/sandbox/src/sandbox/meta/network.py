"""All of Meta: who exists, what opens and what is subscribed to what, and the ids it gives out.

Everything lives in memory. With a state file callbacks, subscriptions, addresses and renewed tokens outlive
the process; dialogues, files and pending webhooks do not. Ids come from the clock, so a restart gives none
twice.
"""

import hashlib
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from pathlib import Path

from pydantic import BaseModel

from sandbox.meta.state import (
    CONTROL_SECONDS,
    DAY,
    LOGIN_TOKEN_SECONDS,
    Account,
    App,
    Business,
    Chat,
    Hook,
    Kind,
    Token,
)
from sandbox.people import People, User
from sandbox.state_file import StateFile

_CONTACT_DIGITS: dict[Kind, int] = {"facebook": 16, "instagram": 15}


class _BusinessMemory(BaseModel):
    channel_id: str | None = None
    base: str = ""


class _TokenMemory(BaseModel):
    value: str
    holder_id: str
    app_id: str
    issued_at: float
    expires_at: float | None


class Memory(BaseModel):
    """What the state file keeps."""

    businesses: dict[str, _BusinessMemory] = {}
    hooks: dict[str, dict[str, Hook]] = {}
    """By app id, then by object."""
    subscriptions: dict[str, dict[str, tuple[str, ...]]] = {}
    """By page or account, then by app: the fields."""
    renewed: list[_TokenMemory] = []


class Meta:
    """The whole of Meta, as far as this sandbox goes."""

    def __init__(
        self,
        accounts: Sequence[Account],
        people: People,
        state_file: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        self.people = people
        self.apps: dict[str, App] = {}
        self.businesses: dict[str, Business] = {}
        self.tokens: dict[str, Token] = {}
        self.subscriptions: dict[tuple[str, str], tuple[str, ...]] = {}
        """Fields by page or account and app."""
        self._contacts: dict[str, dict[str, str]] = {}
        """By page or account, short ids of people by the id they have there."""
        self._count = 0
        self._renewed: list[Token] = []
        self._file = StateFile(state_file, Memory, self._memory)
        memory = self._file.load()
        for account in accounts:
            self._add(account, memory)
        for kept in memory.renewed:
            token = Token(
                kept.value, "instagram", kept.holder_id, kept.app_id, kept.issued_at, kept.expires_at
            )
            self.tokens[token.value] = token
            self._renewed.append(token)
        for holder_id, by_app in memory.subscriptions.items():
            for app_id, fields in by_app.items():
                self.subscriptions[holder_id, app_id] = fields

    def _add(self, account: Account, memory: Memory) -> None:
        app = self.apps.get(account.app_id)
        if app is None:
            app = self.apps[account.app_id] = App(account.app_id, account.app_secret, account.verify_token)
            app.hooks = dict(memory.hooks.get(account.app_id, {}))
        if account.object not in app.hooks and account.callback_url is not None:
            app.hooks[account.object] = Hook(url=account.callback_url)
        now = self.clock()
        is_login = account.page_id is None
        self.tokens[account.token] = Token(
            account.token,
            account.host,
            account.holder_id,
            account.app_id,
            now - 2 * DAY,
            now - 2 * DAY + LOGIN_TOKEN_SECONDS if is_login else None,
        )
        kept = memory.businesses.get(account.id, _BusinessMemory())
        self.businesses[account.id] = Business(account, app, kept.channel_id or account.channel_id, kept.base)

    # --- who is who

    def of_holder(self, holder_id: str) -> list[Business]:
        """What is reached through a page, or the account itself."""
        return [b for b in self.businesses.values() if b.account.holder_id == holder_id]

    def business_of(self, name: str, kind: str) -> Business | None:
        """The page or account that serves the channel; its id names it too."""
        mine = [b for b in self.businesses.values() if b.kind == kind]
        found = next((b for b in mine if name == b.channel_id), None)
        return found or next((b for b in mine if name == b.account.id), None)

    def chat(self, business: Business, person: User) -> Chat:
        """The dialogue with `person`, made at the first look."""
        chat = business.chats.get(person.client)
        if chat is None:
            contact_id = self.contact_id(business, person.client)
            username = person.username or f"{person.client.lower()}.ua"
            chat = Chat(person, contact_id, f"t_{_digits(f'thread:{contact_id}', 15)}", username)
            business.chats[person.client] = chat
            business.by_contact[contact_id] = chat
        chat.user = person
        return chat

    def contact_id(self, business: Business, client: str) -> str:
        """PSID or IGSID: the same person has another one at every page and account."""
        rest = _digits(f"{business.account.id}:{client}", _CONTACT_DIGITS[business.kind] - 1)
        return f"6{rest}" if business.kind == "facebook" else f"9{rest}"

    def find(self, business: Business, contact_id: str) -> Chat | None:
        """The dialogue with whoever has this id here; None: nobody."""
        known = business.by_contact.get(contact_id)
        if known is not None or len(contact_id) != _CONTACT_DIGITS[business.kind]:
            return known
        index = self._contacts.setdefault(business.account.id, {})
        people = self.people.all()
        for client in people.keys() - set(index.values()):
            index[self.contact_id(business, client)] = client
        client_of = index.get(contact_id)
        return None if client_of is None else self.chat(business, people[client_of])

    def owner_of(self, chat: Chat) -> str | None:
        """The app that holds a thread; after a day without a word nobody does."""
        quiet_since = max(chat.owned_at, chat.updated_at)
        if chat.owner is not None and self.clock() - quiet_since > CONTROL_SECONDS:
            chat.owner = None
        return chat.owner

    # --- ids

    def message_id(self, business: Business) -> str:
        """A new mid: opaque, long, unique."""
        self._count += 1
        stamp = f"{int(self.clock() * 1000):x}.{self._count:x}.".encode()
        if business.kind == "facebook":
            return f"m_{_letters(stamp + secrets.token_bytes(44))}"
        raw = f"{business.account.id}:".encode() + stamp + secrets.token_bytes(72)
        return f"aWdfZAG1f{_letters(raw)}"

    # --- subscriptions and tokens

    def fields_of(self, business: Business) -> tuple[str, ...] | None:
        """What the app is subscribed to at the page or account; None: it is not."""
        return self.subscriptions.get((business.account.holder_id, business.app.id))

    def lose(self, business: Business) -> bool:
        """The app is no longer subscribed to the page or account; whether it was."""
        lost = self.subscriptions.pop((business.account.holder_id, business.app.id), None)
        self.changed()
        return lost is not None

    def revoke_token(self, business: Business) -> str:
        """A new token in the place of all old ones. A restart brings the first back."""
        account = business.account
        for token in self.tokens.values():
            if token.holder_id == account.holder_id:
                token.state = "password"
        prefix = "EAA" if account.host == "facebook" else "IGAA"
        made = Token(
            f"{prefix}{secrets.token_hex(40)}",
            account.host,
            account.holder_id,
            account.app_id,
            self.clock(),
            None if account.host == "facebook" else self.clock() + LOGIN_TOKEN_SECONDS,
        )
        self.tokens[made.value] = made
        return made.value

    def renew(self, old: Token) -> Token:
        """A token of Instagram Login for sixty days more; the old one lives until its own end."""
        now = self.clock()
        value = f"IGAA{secrets.token_hex(60)}"
        made = Token(value, old.host, old.holder_id, old.app_id, now, now + LOGIN_TOKEN_SECONDS)
        self.tokens[value] = made
        self._renewed.append(made)
        self.changed()
        return made

    def changed(self) -> None:
        """Something the state file keeps is new."""
        self._file.changed()

    async def keep_saving(self) -> None:
        """Write the state file whenever something is new."""
        await self._file.keep_saving()

    def save(self) -> None:
        """Write the state file now."""
        self._file.save()

    def _memory(self) -> Memory:
        subscriptions: dict[str, dict[str, tuple[str, ...]]] = {}
        for (holder_id, app_id), fields in self.subscriptions.items():
            subscriptions.setdefault(holder_id, {})[app_id] = fields
        return Memory(
            businesses={
                b.account.id: _BusinessMemory(channel_id=b.channel_name, base=b.base)
                for b in self.businesses.values()
            },
            hooks={app.id: dict(app.hooks) for app in self.apps.values() if app.hooks},
            subscriptions=subscriptions,
            renewed=[
                _TokenMemory(
                    value=t.value,
                    holder_id=t.holder_id,
                    app_id=t.app_id,
                    issued_at=t.issued_at,
                    expires_at=t.expires_at,
                )
                for t in self._renewed
            ],
        )


def _digits(seed: str, length: int) -> str:
    number = int(hashlib.sha256(f"meta:{seed}".encode()).hexdigest(), 16)
    return str(number % (9 * 10 ** (length - 1)) + 10 ** (length - 1))


def _letters(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode().rstrip("=")
