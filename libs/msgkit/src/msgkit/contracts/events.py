"""What travels on the bus: facts from messengers, orders to inbox and to connectors.

No field of an event has a default: a reader must never invent an `event_id` or a time. Names end with the
major version; readers ignore fields they do not know. The JSON Schemas stand in `libs/msgkit/schemas/`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from msgkit.contracts.words import AuthorKind, Direction, FailureCode, MessageKind, MessageState

RAW_LIMIT_BYTES = 64 * 1024
"""How much of a provider's own element an event carries; the whole webhook is in the journal."""


# What does not validate may be a client's words, and errors go to the log.
_SILENT = ConfigDict(hide_input_in_errors=True)


class Frozen(BaseModel):
    """A value: cannot change after it was made, ignores fields of newer writers."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class Contact(Frozen):
    """Who wrote, in the messenger's words. `key` is stable within the channel."""

    key: str
    name: str
    """Empty if the messenger does not say it this time: a name once known stays."""
    username: str | None
    phone: str | None
    language: str | None


class TextEntity(Frozen):
    """A marked span of the text; `offset` and `length` count UTF-16 code units."""

    kind: str
    offset: int
    length: int
    url: str | None


class MediaRef(Frozen):
    """A file that still lies at the messenger; `ref` is what its connector needs to fetch it."""

    ref: str
    kind: MessageKind
    name: str | None
    mime: str | None
    size_bytes: int | None
    width: int | None
    height: int | None
    duration_s: float | None


class Place(Frozen):
    """A point on the map; degrees, WGS 84."""

    latitude: float
    longitude: float
    title: str | None
    address: str | None


class SharedContact(Frozen):
    """A contact card inside a message. `is_own`: the messenger proves that it is the sender's own number."""

    name: str
    phone: str | None
    """E.164 if it can be read as a number, else as it came."""
    is_own: bool


class ButtonPress(Frozen):
    """The client pressed a button under a message of ours."""

    value: str
    message_provider_id: str | None
    """The message that carries the button, if the messenger still knows."""


class SharedLink(Frozen):
    """What a message points at beside its words, e.g. the story it answers. Its picture is in `media`."""

    kind: Literal["story_reply", "story_mention", "post", "reel", "link", "product", "ad"]
    title: str | None
    url: str | None
    """An http(s) address for a person to open; None: there is none that lasts."""


class Content(Frozen):
    """What a message says. `media` has one entry per file; the refs of one message differ."""

    kind: MessageKind
    text: str
    entities: list[TextEntity]
    media: list[MediaRef]
    place: Place | None
    shared_contact: SharedContact | None
    shared_link: SharedLink | None
    unsupported: str | None
    """For `unsupported`: the provider's own name of what we cannot show yet."""


class TemplateValue(Frozen):
    """One place of a template filled in; `part` is where the place stands, `index` the button's, from 0."""

    part: Literal["header", "body", "button"]
    index: int
    name: str | None
    """None for a place that has a number instead of a name; then the order in the list is its number."""
    value: str


class OrderedTemplate(Frozen):
    """A template the messenger approved, to be sent instead of free words."""

    name: str
    language: str
    values: list[TemplateValue]


class OutboundButton(Frozen):
    text: str
    action: Literal["reply", "callback", "url", "share_phone", "share_location"]
    value: str


class BusEvent(Frozen):
    event_id: str
    tenant_id: str
    channel_id: str
    channel_kind: str
    recorded_at: AwareDatetime


class InboundEvent(BusEvent):
    """Something that happened in a conversation at the messenger."""

    conversation_id: str
    webhook_id: str
    raw: str
    """The provider's own element as JSON text, cut to nothing above RAW_LIMIT_BYTES."""


class MessageReceived(InboundEvent):
    type: Literal["message.received.v1"]
    contact: Contact
    provider_id: str
    provider_seq: int
    """Rises with the provider's order inside a conversation; breaks ties of `sent_at`."""
    sent_at: AwareDatetime
    content: Content
    reply_to_provider_id: str | None
    start_payload: str | None
    """The deep-link payload of a bot's /start; None for any other message."""
    group_id: str | None
    """The album this message belongs to, the same for all its messages."""
    pressed: ButtonPress | None
    """For a press of a button; the button's title is the text then."""
    is_standby: bool
    """Another party of the messenger holds the thread, e.g. Meta's agent: no bot, no autoresponder."""


class MessageEdited(InboundEvent):
    type: Literal["message.edited.v1"]
    contact: Contact
    provider_id: str
    edited_at: AwareDatetime
    content: Content


class MessageDeleted(InboundEvent):
    """A message was taken back: by the client, or, if it is one of ours, in the messenger's own app."""

    type: Literal["message.deleted.v1"]
    contact: Contact
    provider_id: str
    deleted_at: AwareDatetime


class ReactionChanged(InboundEvent):
    """Somebody put a sign on a message, or took it off; one sign each, the last one counts."""

    type: Literal["message.reacted.v1"]
    contact: Contact
    provider_id: str
    """The message with the sign, of either side."""
    author_kind: Literal[AuthorKind.CLIENT, AuthorKind.OPERATOR]
    """`operator`: put in the messenger's own app."""
    emoji: str | None
    """None: taken off."""
    reacted_at: AwareDatetime


class MessageRecalled(InboundEvent):
    """A message of the time before the account was connected, from the messenger's history.

    It opens nothing and counts as nothing: no request, no reply window, no unread, no bot.
    """

    type: Literal["message.recalled.v1"]
    contact: Contact
    provider_id: str
    provider_seq: int
    sent_at: AwareDatetime
    direction: Literal[Direction.IN, Direction.OUT]
    content: Content
    """Without files yet: they may follow, as the same message once more."""
    state: Literal[MessageState.SENT, MessageState.DELIVERED, MessageState.READ, MessageState.FAILED]
    """Of an outgoing one."""


class ContactChanged(InboundEvent):
    """What is known of a contact changed, e.g. the number. It opens no request and is no message."""

    type: Literal["contact.changed.v1"]
    contact: Contact
    """As it is now; what is not told stays as it was, but of a new number, which may be hidden."""
    previous_phone: str | None
    """For a change of number: the one before, if it was told."""
    is_new_number: bool
    """The client moved to another number: the dialogue says so. Else only the card changes."""
    happened_at: AwareDatetime


class MessageEchoed(InboundEvent):
    """A message to the client that inbox did not order: said by the connector, or in the messenger's app.

    It is at the client already, so it is shown as sent, in the place of `sent_at`.
    """

    type: Literal["message.echoed.v1"]
    contact: Contact
    provider_id: str
    """Unique within the conversation, also among the inbound ones; made up where the messenger has none."""
    provider_seq: int
    sent_at: AwareDatetime
    author_kind: Literal[AuthorKind.OPERATOR, AuthorKind.BOT]
    """`operator`: a person typed it elsewhere, which silences the bot. `bot`: nobody did."""
    content: Content
    buttons: list[list[OutboundButton]]
    reply_to_provider_id: str | None


class ContactAvailability(InboundEvent):
    """The client blocked the bot or came back."""

    type: Literal["contact.availability.v1"]
    contact: Contact
    available: bool
    happened_at: AwareDatetime


class Failure(Frozen):
    code: FailureCode
    text: str
    """For the operator, in Ukrainian: what happened and what to do."""


class DeliveryReported(BusEvent):
    """What became of an answer we sent."""

    type: Literal["delivery.reported.v1"]
    conversation_id: str
    message_id: str
    state: MessageState
    provider_ids: list[str]
    failure: Failure | None
    contact_blocked: bool
    is_late_refusal: bool
    """For `failed`: the messenger had taken it, and says later that the client will not see it.

    Such a failure stands above `sent` and below `delivered`.
    """
    happened_at: AwareDatetime


class StoredMedia(Frozen):
    """A file in the object store, as it was found to be: never what somebody claimed of it."""

    key: str
    """Random key of the object; never shown outside."""
    mime: str
    size_bytes: int
    width: int | None
    height: int | None
    duration_s: float | None
    thumb_key: str | None


class MediaSettled(BusEvent):
    """A file of a client's message was fetched, or cannot be had any more."""

    type: Literal["media.settled.v1"]
    conversation_id: str
    message_id: str
    attachment_id: str
    stored: StoredMedia | None
    """None: lost."""
    reason: Literal["gone", "too_big", "dangerous", "unreadable", "unavailable"] | None
    """Why it is lost."""
    happened_at: AwareDatetime


class ChannelHealthReported(BusEvent):
    """How a connected account is doing now; said when that changes. Key: the channel's partition."""

    type: Literal["channel.health.v1"]
    connected: bool
    problem: str | None
    """For the administrator, in Ukrainian: what is wrong and the one fix."""
    happened_at: AwareDatetime


class HumanAgentRefused(BusEvent):
    """The messenger does not let this account answer late: nobody granted it. Key: the channel's partition.

    The setting `human_agent` is off from now on, until an administrator puts it on again.
    """

    type: Literal["channel.human_agent_refused.v1"]
    happened_at: AwareDatetime


class ConversationPoked(BusEvent):
    """Somebody else appended to the log: the owner of the partition should relay it now."""

    type: Literal["conversation.poked.v1"]
    conversation_id: str


Inbound = Annotated[
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | MessageEchoed
    | MessageRecalled
    | ReactionChanged
    | ContactChanged
    | ContactAvailability
    | DeliveryReported
    | MediaSettled
    | ChannelHealthReported
    | HumanAgentRefused
    | ConversationPoked,
    Field(discriminator="type"),
]
INBOUND: TypeAdapter[Inbound] = TypeAdapter(Inbound, config=_SILENT)


class WebhookReceived(Frozen):
    """The whole webhook as it came, for the journal."""

    type: Literal["webhook.received.v1"]
    event_id: str
    channel_id: str
    channel_kind: str
    recorded_at: AwareDatetime
    body: str
    """The raw bytes, base64."""


class OutboundMedia(Frozen):
    """A file of an answer. Its bytes lie in the object store; type and size are as found, not as claimed."""

    attachment_id: str
    key: str
    kind: MessageKind
    name: str
    mime: str
    size_bytes: int
    width: int | None
    height: int | None
    duration_s: float | None


class SendMessage(BusEvent):
    """Order to a connector: bring this message to the client."""

    type: Literal["send.ordered.v1"]
    conversation_id: str
    contact_key: str
    """Who it is for. The kit gives `plan` the address by which the messenger reaches that contact now."""
    message_id: str
    out_seq: int
    """1, 2, 3 … within the conversation: the order on the phone."""
    author_kind: AuthorKind
    client_wrote_at: AwareDatetime | None
    """When the client wrote last, as far as known when this was ordered; None: never, or nobody knows."""
    text: str
    media: list[OutboundMedia]
    buttons: list[list[OutboundButton]]
    reply_to_provider_id: str | None
    place: Place | None
    shared_contact: SharedContact | None
    template: OrderedTemplate | None
    """Sent instead of `text`, which is what the client will read then."""
    is_reaction: bool
    """`text` is a sign to put on the message `reply_to_provider_id`; empty: to take ours off."""


class ReadChat(BusEvent):
    """Order to a connector: tell the client that what he wrote was read, up to this message."""

    type: Literal["chat.read.v1"]
    conversation_id: str
    contact_key: str
    provider_id: str
    read_at: AwareDatetime


class CancelSend(BusEvent):
    """Order to a connector: what is still queued of these must not go out."""

    type: Literal["send.cancelled.v1"]
    conversation_id: str
    message_ids: list[str]


Sends = Annotated[SendMessage | CancelSend | ReadChat, Field(discriminator="type")]
SENDS: TypeAdapter[Sends] = TypeAdapter(Sends, config=_SILENT)
