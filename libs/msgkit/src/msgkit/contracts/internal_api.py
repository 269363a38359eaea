"""Bodies of the calls between services. Every call carries a service token with tenant, user and roles.

inbox (audience `inbox`), all under `/internal`:
  GET    /overview                               → Overview
  GET    /conversations?list&channel&assignee&q&cursor&limit → RowsPage
  GET    /conversations/{id}                     → ViewerRow
  GET    /conversations/{id}/messages?before&after&around&limit → MessagesPage
  GET    /conversations/{id}/requests            → list[RequestRef]
  POST   /conversations/{id}/messages            SendRequest → 202 MessageView
  POST   /conversations/{id}/read                ReadRequest → ReadMark
  POST   /conversations/{id}/status              StatusRequest → ViewerRow   (If-Match: v)
  POST   /conversations/{id}/claim               → ViewerRow
  GET    /counters                               → Counters
  GET    /channels                               → list[ChannelView]  (all of the tenant)
  PUT    /channels/{id}                          StoreChannel → ChannelView  (idempotent; step 2 of creation)
  PATCH  /channels/{id}                          ChannelPatch → ChannelView
  POST   /channels/{id}/state                    ChannelState → ChannelView
  DELETE /channels/{id}                          → 204
  GET    /live                                   → LiveEpoch
  POST   /live/renew                             LiveEpoch (missing) → LiveEpoch (to use)

every ingest service (audience: its name), under `/internal`:
  PUT    /accounts/{channel_id}                  ConnectAccount → AccountProbe  (step 1: stored `pending`)
  POST   /accounts/{channel_id}/activate         → AccountHealth  (step 3: registers the webhook)
  GET    /accounts/{channel_id}/health           → AccountHealth
  DELETE /accounts/{channel_id}                  → 204
"""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from msgkit.contracts.events import Frozen
from msgkit.contracts.views import (
    ChannelSettings,
    ChannelView,
    ConversationRow,
    Counters,
    MessageView,
    ViewerRow,
)

TEXT_MAX_CHARS = 20_000
"""Longest text an answer may have before a connector splits it."""


class Strict(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class SendRequest(Strict):
    client_msg_id: str = Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    text: str = Field(min_length=1, max_length=TEXT_MAX_CHARS)
    reply_to: str | None = Field(default=None, max_length=64)
    seen_n: int | None = Field(default=None, ge=0, le=2**53)
    force: bool = False
    note: bool = False


class ReadRequest(Strict):
    n: int = Field(ge=0, le=2**53)


class ReadMark(Frozen):
    conversation_id: str
    in_seq: int


class StatusRequest(Strict):
    status: Literal["open", "waiting", "closed"]


class RowsPage(Frozen):
    items: list[ViewerRow]
    next_cursor: str | None


class MessagesPage(Frozen):
    """Ascending by (pos_at, n)."""

    items: list[MessageView]
    has_before: bool
    has_after: bool


class Overview(Frozen):
    channels: list[ChannelView]
    counters: Counters
    epoch: str


class LiveEpoch(Strict):
    epoch: str


class StoreChannel(Strict):
    kind: str
    title: str
    account_id: str
    account_name: str | None
    credentials_hint: str | None
    webhook_url: str | None
    settings: ChannelSettings


class ChannelPatch(Strict):
    title: str | None = Field(default=None, min_length=1, max_length=100)
    settings: ChannelSettings | None = None


class ChannelState(Strict):
    state: Literal["pending", "active", "disabled"]
    connected: bool
    problem: str | None


class ConnectAccount(Strict):
    kind: str
    tenant_id: str
    credentials: dict[str, str]
    api_base: str | None


class AccountProbe(Frozen):
    channel_id: str
    account_id: str
    """The provider's own id of the account: unique over all tenants with the kind."""
    account_name: str | None
    credentials_hint: str
    webhook_url: str | None


class AccountHealth(Frozen):
    channel_id: str
    state: Literal["pending", "active", "disconnected"]
    connected: bool
    problem: str | None
    """For the administrator, in Ukrainian: what is wrong and the one fix."""
    checked_at: AwareDatetime
    pending_updates: int | None


class SendConflict(Frozen):
    """Body of 409 `colleague_replied`: what the author had not seen."""

    code: Literal["colleague_replied"]
    detail: str
    new_messages: list[MessageView]
    current: ConversationRow
