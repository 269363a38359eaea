"""What a messenger must be able to do to become a connector; the kit does everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeVar, runtime_checkable

from msgkit.contracts.events import Failure, InboundEvent, SendMessage
from msgkit.contracts.internal_api import AccountSettings, MessageTemplate
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
    also_known_as: tuple[str, ...] = ()
    """As `Identity` told: further ids of a webhook of the whole app."""
    alert: AccountAlert | None = None
    """The last word of the messenger on the account itself, since it was activated."""
    renewal_problem: str | None = None
    """Why the credentials could not be renewed the last time, for the administrator."""

    def is_meant_by(self, known_as: str) -> bool:
        """Whether a part of a webhook of the whole app is about this account."""
        return known_as == self.account_id or known_as in self.also_known_as

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
    """What the messenger says later of a message of ours that it took.

    `sent` says that it took it, which matters if its answer to our call was lost.
    """

    conversation_id: str | None
    """None: the messenger's ids are unique within the channel. Needed with `up_to`."""
    provider_id: str | None
    """One that a `Receipt` told, or not ours at all: then it has no effect. None with `up_to` alone."""
    state: Literal[MessageState.SENT, MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]
    and_earlier: bool
    """What was sent in this conversation before it is in this state too."""
    failure: Failure | None
    """For `failed`: why."""
    contact_blocked: bool
    happened_at: datetime
    mark: str | None = None
    """What the call carried along as `send_mark`, if the messenger gives it back."""
    up_to: datetime | None = None
    """A watermark: whatever was sent in this conversation until then, by the messenger's clock."""


def send_mark(message_id: str, part: int) -> str:
    """A word a call may carry along, by which a receipt tells which of our calls it is about."""
    return f"{message_id}.{part}"


@dataclass(frozen=True, slots=True)
class PersonSeen:
    """Ids that mean one person, as one element of a webhook proves. For a messenger whose ids change.

    The kit keeps them and decides which contact that is; the events of this `Parsed` with `contact.key` equal
    to `key` get that contact's key and its conversation. Events of such a messenger must derive their
    `event_id` from ids of messages alone.
    """

    key: str
    """What the events of this person say for now: the strongest of `ids`."""
    ids: tuple[str, ...]
    """All ids proved to be of this person now, the strongest first; each is remembered."""
    also: tuple[str, ...]
    """Further spellings, looked for and not remembered."""
    retired: tuple[str, ...]
    """Ids that were this person's until `at` and may be somebody else's later."""
    address: str
    """The id by which the messenger reaches the person now, one of `ids`."""
    at: datetime
    is_known_only: bool = False
    """Somebody else says this, e.g. the owner's address book: a contact is looked for, nothing is remembered,
    and events about a person nobody knows are dropped."""


@dataclass(frozen=True, slots=True)
class AccountAlert:
    """What the messenger says of the account itself, e.g. that it was restricted.

    `problem`: for the administrator, what is wrong and the one fix; None: all is well again.
    """

    problem: str | None
    is_disconnected: bool
    """Nothing can be sent or received until somebody acts."""
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
    people: tuple[PersonSeen, ...] = ()
    alerts: tuple[AccountAlert, ...] = ()


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
    also_known_as: tuple[str, ...] = ()
    """Further ids under which the messenger may name this account; others may share them.

    Accounts that share one share their registration too: what is lost for one is lost for all of them.
    """


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """How an account is doing. `problem` is for the administrator: what is wrong and the one fix."""

    connected: bool
    problem: str | None
    pending_updates: int | None
    is_dropped: bool = False
    """Not connected because nothing of ours is registered any more, and nobody else's is in its place.

    That is mended every time. What somebody else took over is mended at most once an hour.
    """


@dataclass(frozen=True, slots=True)
class MediaStream:
    """A file at the messenger, being read. What it says of itself is a claim until it was looked at."""

    size_bytes: int | None
    mime: str | None
    name: str | None
    chunks: AsyncIterator[bytes]


@dataclass(frozen=True, slots=True)
class AppPart:
    """What a webhook of a whole app says of one account, as a body of its own that `parse` understands."""

    known_as: str
    """The `account_id` of one account, or an `also_known_as` of all accounts that share it."""
    body: bytes
    kind: str | None = None
    """Of that account, if the messenger says it; None: the kind whose address it came to.

    So one address serves the whole app where its owner gave the same one for everything.
    """


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
class ServesApp(Protocol):
    """A connector whose messenger calls one address for all accounts of an app. Pure."""

    def verify_app(self, request: WebhookRequest, secrets: Sequence[str]) -> None:
        """Raises: SignatureInvalid, if none of the app's secrets signed it."""

    def shake_hands(self, query: bytes, verify_tokens: Sequence[str]) -> bytes:
        """The answer to the messenger's GET of an address of ours.

        Raises: SignatureInvalid, if it is none, or names a token that is not ours.
        """

    def split(self, request: WebhookRequest) -> Sequence[AppPart]:
        """What it says of whom, in order, nothing left out; one part for each account is best.

        Nothing at all for what says nothing of anybody, e.g. a test of the messenger's own pages.
        Raises: PayloadInvalid, for a body that is not understood.
        """

    def needs_own_address(self, account: Account) -> bool:
        """Whether its webhooks come from another app than ours, and so to an address of its own."""


@runtime_checkable
class ResolvesUnknown(Protocol):
    """A connector whose receipts carry the mark of the call: one that went unanswered is soon understood."""

    @property
    def resolves_unknown_s(self) -> float:
        """How long such a receipt may take; until then the answer is neither sent nor unknown."""


@runtime_checkable
class SignalsChats(Protocol):
    """A connector that can show the client what we do. Losing a signal is no fault."""

    async def mark_read(self, address: str, provider_id: str, account: Account) -> None:
        """The client's messages up to this one were read. Raises the errors of `errors.py`."""

    async def show_typing(self, address: str, provider_id: str, account: Account) -> None:
        """Somebody types an answer; `provider_id` is the client's last message. Raises the errors."""


@dataclass(frozen=True, slots=True)
class Profile:
    """How a client calls himself at the messenger; None: it does not tell."""

    name: str | None
    username: str | None


@dataclass(frozen=True, slots=True)
class Recalled:
    """A page of what was said while we could not hear it."""

    bodies: tuple[bytes, ...]
    """As webhooks that `parse` understands, in order within each conversation."""
    cursor: str | None
    """Where to go on; None: that was all."""


@runtime_checkable
class HasKinds(Protocol):
    """A connector of several kinds of account, e.g. two messengers of one company; `account.kind` tells."""

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """One for each kind, all of one service; `manifest` is the first."""


@runtime_checkable
class HearsItself(Protocol):
    """A connector whose messenger tells us of our own messages too, as if typed elsewhere.

    A `MessageEchoed` whose `provider_id` is that of a send of ours is dropped by the kit; while a call to
    that client is under way, it waits for the call's end.
    """

    @property
    def echo_wait_s(self) -> float:
        """How long an echo waits for a call under way, at most."""


@runtime_checkable
class HasProfiles(Protocol):
    """A connector whose webhooks do not say who writes, and whose messenger can be asked."""

    async def profile(self, contact_key: str, account: Account) -> Profile | None:
        """Who that is; None: the messenger will not say. Raises the errors of `errors.py`."""


@runtime_checkable
class RecallsMissed(Protocol):
    """A connector that can read again what was said while the messenger did not tell us."""

    async def recall(self, since: datetime, cursor: str | None, account: Account) -> Recalled:
        """One page of everything said since. Raises the errors of `errors.py`."""


@runtime_checkable
class RenewsCredentials(Protocol):
    """A connector whose credentials end by themselves and can be exchanged for new ones before."""

    async def renew(self, account: Account) -> Mapping[str, str] | None:
        """The credentials to use from now on; None: nothing to do yet. Raises the errors of `errors.py`."""


def manifests_of(connector: Connector[Any]) -> tuple[Manifest, ...]:
    """What the connector serves, one for each kind of account."""
    return connector.manifests if isinstance(connector, HasKinds) else (connector.manifest,)


@runtime_checkable
class HasTemplates(Protocol):
    """A connector whose messenger knows templates."""

    async def templates(self, account: Account) -> Sequence[MessageTemplate]:
        """All approved templates of the account. Raises the errors of `errors.py`."""


@runtime_checkable
class Acknowledges(Protocol):
    """A connector whose messenger waits for a word beside the 200, e.g. about a pressed button."""

    async def acknowledge(self, token: str, account: Account) -> None:
        """One call for one entry of `Parsed.acknowledge`. Raises the errors of `errors.py`."""
