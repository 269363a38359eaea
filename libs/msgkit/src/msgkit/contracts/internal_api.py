"""Bodies of the calls between services. Every call carries a service token with tenant, user and roles.

inbox (audience `inbox`), all under `/internal`:
  GET    /overview                               → Overview
  GET    /conversations?list&channel&assignee&q&cursor&limit → RowsPage
  GET    /conversations/{id}                     → ViewerRow
  GET    /conversations/{id}/messages?before&after&around&limit → MessagesPage
  GET    /conversations/{id}/requests            → list[RequestRef]
  POST   /conversations/{id}/messages            SendRequest → 202 MessageView
  POST   /conversations/{id}/read                ReadRequest → ReadMark
  POST   /conversations/{id}/unread              UnreadRequest → ReadMark
  POST   /conversations/{id}/status              StatusRequest → ViewerRow   (If-Match: v)
  POST   /conversations/{id}/claim               → ViewerRow                 (If-Match: v)
  POST   /conversations/{id}/takeover            → ViewerRow                 (If-Match: v)
  POST   /conversations/{id}/assign              AssignRequest → ViewerRow   (If-Match: v)
  POST   /conversations/{id}/release             → ViewerRow                 (If-Match: v)
  POST   /conversations/{id}/return-to-bot       → ViewerRow                 (If-Match: v)
  POST   /messages/{id}/retry                    → MessageView
  POST   /messages/{id}/resolve                  ResolveRequest → MessageView
  DELETE /messages/{id}                          → 204  (an answer that is not at the messenger)
  GET    /messages/{id}/trail                    → Trail
  GET    /media/{attachment_id}                  → MediaRecord
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
  POST   /accounts/{channel_id}/activate         → AccountHealth  (step 3: registers the webhook; enables)
  POST   /accounts/{channel_id}/disable          → AccountHealth  (removes the webhook, keeps the account)
  PUT    /accounts/{channel_id}/settings         AccountSettings → 204  (what the messenger itself must know)
  POST   /accounts/{channel_id}/rotate-secret    → AccountHealth  (a new webhook secret; both hold a while)
  GET    /accounts/{channel_id}/health           → AccountHealth
  GET    /accounts/{channel_id}/templates        → list[MessageTemplate]  (approved ones, by name)
  DELETE /accounts/{channel_id}                  → 204
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from msgkit.contracts.events import Frozen, OrderedTemplate, OutboundButton, Place, SharedContact
from msgkit.contracts.views import (
    BotCommand,
    ChannelSettings,
    ChannelView,
    ConversationRow,
    Counters,
    MessageView,
    ViewerRow,
    Welcome,
)
from msgkit.contracts.words import MessageKind

TEXT_MAX_CHARS = 20_000
"""Longest text an answer may have before a connector splits it."""
ATTACHMENTS_MAX = 10
"""Most files of one answer: an album of Telegram."""
BUTTON_ROWS_MAX = 12
"""Most rows of buttons under one answer: what a phone shows without scrolling in Viber."""
BUTTONS_PER_ROW_MAX = 6
"""Most buttons beside each other: the grid of Viber; Telegram takes 8."""
BUTTON_TEXT_MAX_CHARS = 64
BUTTON_VALUE_MAX_CHARS = 2_048
"""An address, or what comes back when the client presses; a connector may take less."""


class Strict(BaseModel):
    """A request body: unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=False)


class UploadedFile(Strict):
    """A file gateway took in for an answer; type, size and measures are as found, not as claimed."""

    upload_id: str = Field(max_length=64)
    key: str = Field(max_length=200)
    """Random key of the object in the store."""
    thumb_key: str | None = Field(max_length=200)
    kind: MessageKind
    name: str = Field(max_length=255)
    mime: str = Field(max_length=120)
    size_bytes: int = Field(ge=0)
    width: int | None
    height: int | None
    duration_s: float | None


class RequestedButton(OutboundButton):
    """A button as asked for. `value` is an http(s) address, or what comes back, or nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str = Field(min_length=1, max_length=BUTTON_TEXT_MAX_CHARS, pattern=r"\S")
    value: str = Field(default="", max_length=BUTTON_VALUE_MAX_CHARS)

    @model_validator(mode="after")
    def _has_what_it_needs(self) -> Self:
        if self.action == "url" and not self.value.lower().startswith(("https://", "http://")):
            raise ValueError("the value of a url button must be an address that begins with https://")
        if self.action == "callback" and not self.value:
            raise ValueError("a callback button needs a value: it comes back when the client presses")
        return self


ButtonRow = Annotated[list[RequestedButton], Field(min_length=1, max_length=BUTTONS_PER_ROW_MAX)]


class SendRequest(Strict):
    """An answer or a note: a text, files, or both; an answer may carry buttons, a note may not."""

    client_msg_id: str = Field(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")
    text: str = Field(default="", max_length=TEXT_MAX_CHARS)
    attachments: list[UploadedFile] = Field(default=[], max_length=ATTACHMENTS_MAX)
    buttons: list[ButtonRow] = Field(default=[], max_length=BUTTON_ROWS_MAX)
    place: Place | None = None
    shared_contact: SharedContact | None = None
    template: OrderedTemplate | None = None
    """Instead of free words; `text` is how it reads then."""
    is_reaction: bool = False
    """`text` is one sign to put on the message `reply_to`."""
    reply_to: str | None = Field(default=None, max_length=64)
    seen_n: int | None = Field(default=None, ge=0, le=2**53)
    force: bool = False
    note: bool = False


class UnreadRequest(Strict):
    """Mark as unread from message `n` on."""

    n: int = Field(ge=1, le=2**53)


class AssignRequest(Strict):
    user_id: str = Field(min_length=1, max_length=64)
    name: str = Field(min_length=1, max_length=200)


class ResolveRequest(Strict):
    """What a person decides of an answer nobody knows the fate of."""

    action: Literal["sent", "failed", "resend"] = Field(alias="as")


class TrailStep(Frozen):
    """One thing that happened to a message."""

    at: AwareDatetime
    event: str
    """The log's word: `message.came`, `answer.ordered`, `delivery.changed`, …"""
    state: str | None
    author: str | None
    detail: str | None
    """For the operator, in Ukrainian."""
    trace_id: str | None


class Trail(Frozen):
    message_id: str
    steps: list[TrailStep]


class MediaRecord(Frozen):
    """Where a file of a message lies, for the gateway to serve; `key` goes no further."""

    attachment_id: str
    key: str
    thumb_key: str | None
    kind: MessageKind
    name: str | None
    mime: str
    size_bytes: int


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
    """Of a channel that is there already only what is named changes."""


class ChannelPatch(Strict):
    title: str | None = Field(default=None, min_length=1, max_length=100)
    settings: ChannelSettings | None = None
    """Only what is named changes."""


class ChannelState(Strict):
    state: Literal["pending", "active", "disabled"]
    connected: bool
    problem: str | None


class ConnectAccount(Strict):
    kind: str
    tenant_id: str
    credentials: dict[str, str]
    api_base: str | None


class AccountSettings(Strict):
    """What the tenant decides and the messenger itself must know."""

    welcome: Welcome
    commands: tuple[BotCommand, ...] = Field(max_length=100)
    human_agent: bool = False
    """People may answer as long as `Manifest.human_reply_window_hours` says."""


class AccountProbe(Frozen):
    channel_id: str
    account_id: str
    """The provider's own id of the account: unique over all tenants with the kind."""
    account_name: str | None
    credentials_hint: str
    webhook_url: str | None


class TemplatePlace(Frozen):
    """A place of a template that must be filled in."""

    key: str
    """Unique within the template, e.g. `body.1`, `body.name`, `header.1`, `button.0`."""
    part: Literal["header", "body", "button"]
    index: int
    """The button's, from 0; 0 for the others."""
    name: str | None
    """None for a place that has a number instead of a name."""
    example: str


class MessageTemplate(Frozen):
    """A template of an account, as far as a text goes: `{{1}}` or `{{name}}` stand for the places."""

    name: str
    language: str
    category: str
    header: str | None
    body: str
    footer: str | None
    buttons: list[str]
    places: list[TemplatePlace]
    unusable: str | None
    """For the operator, in Ukrainian: why it cannot be sent from here, e.g. its header is a picture."""


class AccountHealth(Frozen):
    channel_id: str
    state: Literal["pending", "active", "disabled", "disconnected"]
    connected: bool
    receiving: Literal["webhook", "polling"] | None
    """How messages come in; None while they do not."""
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
