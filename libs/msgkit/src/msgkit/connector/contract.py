"""What a messenger must be able to do to become a connector; the kit does everything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, Protocol, TypeVar

from msgkit.contracts.events import InboundEvent, SendMessage
from msgkit.contracts.manifest import Manifest

AccountState = Literal["pending", "active", "disconnected"]


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


@dataclass(frozen=True, slots=True)
class WebhookRequest:
    """A webhook as it came. Header names are lower case; values are bytes: anybody may send anything."""

    headers: Mapping[bytes, bytes]
    body: bytes
    webhook_id: str
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Parsed:
    """What a webhook says.

    `counted` names what is known and not a message. `quarantine` is the reason to keep the raw body for a
    person, if a part of it could not be understood. `reply` is the body the messenger wants back.
    """

    events: tuple[InboundEvent, ...] = ()
    counted: tuple[str, ...] = ()
    quarantine: str | None = None
    reply: bytes = b""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One request was accepted. The id is None if the messenger accepted without telling it."""

    provider_id: str | None


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
        """How the connection is doing now. Raises the errors of `errors.py`."""

    async def disconnect(self, account: Account) -> None:
        """Remove the webhook. Raises the errors of `errors.py`."""

    async def aclose(self) -> None: ...
