"""What a messenger must be able to do to become a connector; the kit does everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeVar, runtime_checkable

from msgkit.contracts.events import Failure, InboundEvent, SendMessage
from msgkit.contracts.internal_api import AccountSettings
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import MessageState

AccountState = Literal["pending", "active", "disabled", "disconnected"]


@dataclass(frozen=True, slots=True)
class Account:
    """A connected account with its secrets opened; lives only in the process that owns the channel."""

    channel_id: str
    tenant_id: str
    kind: str
    account_id: str
    """The messenger's own id of the account; empty until it was asked."""
    account_name: str | None
    api_base: str | None
    """Another address of the messenger's API, from the allow-list; None for the real one."""
    state: AccountState
    problem: str | None
    paused_until: datetime | None
    """Nothing is sent before this moment: the messenger asked us to wait."""
    credentials: Mapping[str, str] = field(repr=False)
    webhook_secret: str = field(repr=False)
    """What `connect` registers."""
    previous_secret: str | None = field(default=None, repr=False)
    """The one before: the messenger may use it still."""
    is_rotating: bool = False
    """The new secret is accepted, and the messenger does not know it yet."""
    credentials_rev: int = 0
    """Rises with each change of the credentials: a refusal of older ones says nothing of these."""
    settings: AccountSettings | None = None
    """What the tenant decided and the messenger must know, as last applied; None before the first time."""

    @property
    def webhook_secrets(self) -> tuple[str, ...]:
        """Every secret a webhook may carry now, for `verify`."""
        if self.previous_secret is None:
            return (self.webhook_secret,)
        return (self.webhook_secret, self.previous_secret)


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A webhook as it came. Header names are lower case; values are bytes: anybody may send anything."""

    headers: Mapping[bytes, bytes]
    body: bytes
    webhook_id: str
    received_at: datetime
    query: bytes = b""
    """The query of the address as it came, without its question mark."""


@dataclass(frozen=True, slots=True)
class ProviderReceipt:
    """What the messenger says later of a message of ours that it took."""

    conversation_id: str
    provider_id: str
    """One that a `Receipt` told, or not ours at all: then it has no effect."""
    state: Literal[MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]
    and_earlier: bool
    """What was sent in this conversation before it is in this state too."""
    failure: Failure | None
    """For `failed`: why."""
    contact_blocked: bool
    happened_at: datetime


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a webhook says.

    `counted` names what is known and not a message. `quarantine` is the reason to keep the raw body for a
    person, if a part of it could not be understood. `reply` is the body the messenger wants back.
    `acknowledge` goes to `Acknowledges.acknowledge`, one by one, once all of this is durable. `receipts`
    need the ability `receipts` in the manifest. `is_kept` is False for what says nothing and may come from
    anybody, e.g. an unsigned check of the address: nothing of it is written anywhere.
    """

    events: tuple[InboundEvent, ...] = ()
    counted: tuple[str, ...] = ()
    quarantine: str | None = None
    reply: bytes = b""
    acknowledge: tuple[str, ...] = ()
    receipts: tuple[ProviderReceipt, ...] = ()
    is_kept: bool = True


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request was accepted. The id is None if the messenger accepted without telling it.

    `further_ids`: a request that became several messages, e.g. an album, has the ids of the others here.
    """

    provider_id: str | None
    further_ids: tuple[str, ...] = ()

    @property
    def provider_ids(self) -> list[str]:
        """All ids that were told, in order."""
        return [] if self.provider_id is None else [self.provider_id, *self.further_ids]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who an account is, in the messenger's words."""

    account_id: str
    account_name: str | None


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """How an account is doing. `problem` is for the administrator: what is wrong and the one fix."""

    connected: bool
    problem: str | None
    pending_updates: int | None


@dataclass(frozen=True, slots=True)
class MediaStream:
    """A file at the messenger, being read. What it says of itself is a claim until it was looked at."""

    size_bytes: int | None
    mime: str | None
    name: str | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class Polled:
    """What a poll brought: raw updates in order, and the position after them."""

    updates: tuple[bytes, ...]
    position: str | None
    """Goes into the next call once all updates are kept; None: it begins with what is not forgotten yet."""


RequestT = TypeVar("RequestT")


class Connector(Protocol[RequestT]):
    """One messenger. `verify`, `parse` and `plan` are pure; the others make one call each."""

    @property
    def manifest(self) -> Manifest: ...

    def verify(self, request: WebhookRequest, account: Account) -> None:
        """Raises: SignatureInvalid."""

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        """Raises: PayloadInvalid, for a body that is not understood as a whole."""

    def plan(self, message: SendMessage, account: Account) -> Sequence[RequestT]:
        """The requests that bring this message to the client, one per part, always the same ones.

        Raises: MessageRejected.
        """

    async def deliver(self, request: RequestT, account: Account) -> Receipt:
        """Exactly one call to the messenger, bounded in time. Raises the errors of `errors.py`."""

    async def probe(self, account: Account) -> Identity:
        """Ask the messenger who these credentials are. Raises the errors of `errors.py`."""

    async def connect(self, account: Account, webhook_url: str) -> None:
        """Register the webhook, with every option every time. Raises the errors of `errors.py`."""

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        """How the connection is doing now; an empty `webhook_url`: it is polled. Raises the errors."""

    async def disconnect(self, account: Account) -> None:
        """Remove the webhook. Raises the errors of `errors.py`."""

    def open_media(self, ref: str, account: Account) -> AbstractAsyncContextManager[MediaStream]:
        """A file of a client's message. Entering and reading raise the errors of `errors.py`;

        `MessageRejected` means that the file cannot be had any more.
        """

    async def apply_settings(self, settings: AccountSettings, account: Account) -> None:
        """Tell the messenger what the tenant decided, as far as it takes such. Raises the errors."""

    async def aclose(self) -> None: ...


@runtime_checkable
class Polls(Protocol):
    """A connector that can also fetch its updates, for installations without a public https address."""

    async def poll(self, position: str | None, account: Account, wait_s: float) -> Polled:
        """One long poll after `position`; the messenger forgets what lies before it. Raises the errors."""

    async def prepare_polling(self, account: Account) -> None:
        """Make polling possible, e.g. remove the webhook. Raises the errors of `errors.py`."""


@runtime_checkable
class Acknowledges(Protocol):
    """A connector whose messenger waits for a word beside the 200, e.g. about a pressed button."""

    async def acknowledge(self, token: str, account: Account) -> None:
        """One call for one entry of `Parsed.acknowledge`. Raises the errors of `errors.py`."""
