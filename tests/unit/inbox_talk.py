"""A conversation for the tests of its rules, and the words they speak."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from inbox.domain import (
    Author,
    Command,
    Commit,
    Door,
    Event,
    Message,
    Moment,
    Person,
    PostReply,
    Refusal,
    State,
    decide,
    fold,
)
from msgkit.contracts.events import (
    Contact,
    ContactAvailability,
    ContactChanged,
    Content,
    DeliveryReported,
    MediaRef,
    MediaSettled,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ReactionChanged,
    StoredMedia,
)
from msgkit.contracts.ids import attachment_id, conversation_id, inbound_message_id
from msgkit.contracts.words import AuthorKind, Direction, MessageKind, MessageState

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CHANNEL, CONTACT = "c1", "501"
CONVERSATION = conversation_id(CHANNEL, CONTACT)
OLENA, IVAN = Person("u-olena", "Олена"), Person("u-ivan", "Іван")
COMMON: dict[str, Any] = {
    "tenant_id": "salon",
    "channel_id": CHANNEL,
    "channel_kind": "telegram_bot",
    "conversation_id": CONVERSATION,
}
INBOUND: dict[str, Any] = {
    **COMMON,
    "webhook_id": "w",
    "raw": '{"raw": 1}',
    "contact": Contact(key=CONTACT, name="Оля", username="olya", phone=None, language="uk"),
}


def text(words: str) -> Content:
    return content(text=words)


def content(kind: MessageKind = MessageKind.TEXT, **more: Any) -> Content:
    nothing: dict[str, Any] = {
        "text": "",
        "entities": [],
        "media": [],
        "place": None,
        "shared_contact": None,
        "shared_link": None,
        "unsupported": None,
    }
    return Content(**nothing | {"kind": kind, **more})


def came(provider_id: str = "1", words: str = "Добрий день", **more: Any) -> MessageReceived:
    fields: dict[str, Any] = {
        **INBOUND,
        "type": "message.received.v1",
        "event_id": f"e{provider_id}",
        "recorded_at": NOON,
        "provider_id": provider_id,
        "provider_seq": int(provider_id),
        "sent_at": NOON,
        "content": text(words),
        "reply_to_provider_id": None,
        "start_payload": None,
        "group_id": None,
        "pressed": None,
        "is_standby": False,
        **more,
    }
    return MessageReceived(**fields)


def echoed(
    author_kind: Literal[AuthorKind.OPERATOR, AuthorKind.BOT],
    provider_id: str = "900",
    words: str = "Вітаємо!",
    **more: Any,
) -> MessageEchoed:
    fields: dict[str, Any] = {
        **INBOUND,
        "type": "message.echoed.v1",
        "event_id": f"x{provider_id}",
        "recorded_at": NOON,
        "provider_id": provider_id,
        "provider_seq": 1,
        "sent_at": NOON,
        "author_kind": author_kind,
        "content": text(words),
        "buttons": [],
        "reply_to_provider_id": None,
        **more,
    }
    return MessageEchoed(**fields)


def edited(provider_id: str, words: str, at: datetime) -> MessageEdited:
    return MessageEdited(
        **INBOUND,
        type="message.edited.v1",
        event_id="x",
        recorded_at=NOON,
        provider_id=provider_id,
        edited_at=at,
        content=text(words),
    )


def withdrawn(provider_id: str, at: datetime = NOON) -> MessageDeleted:
    return MessageDeleted(
        **INBOUND,
        type="message.deleted.v1",
        event_id=f"d{provider_id}",
        recorded_at=NOON,
        provider_id=provider_id,
        deleted_at=at,
    )


def reacted(
    provider_id: str,
    emoji: str | None,
    at: datetime = NOON,
    by: Literal[AuthorKind.CLIENT, AuthorKind.OPERATOR] = AuthorKind.CLIENT,
) -> ReactionChanged:
    return ReactionChanged(
        **INBOUND,
        type="message.reacted.v1",
        event_id=f"s{provider_id}-{by}-{emoji}-{at.isoformat()}",
        recorded_at=NOON,
        provider_id=provider_id,
        author_kind=by,
        emoji=emoji,
        reacted_at=at,
    )


def recalled(
    provider_id: str,
    words: str = "Колись",
    at: datetime = NOON - timedelta(days=30),
    **more: Any,
) -> MessageRecalled:
    fields: dict[str, Any] = {
        **INBOUND,
        "type": "message.recalled.v1",
        "event_id": f"h{provider_id}",
        "recorded_at": NOON,
        "provider_id": provider_id,
        "provider_seq": 1,
        "sent_at": at,
        "direction": Direction.IN,
        "content": text(words),
        "state": MessageState.DELIVERED,
        **more,
    }
    return MessageRecalled(**fields)


def card_changed(event_id: str = "k", **more: Any) -> ContactChanged:
    contact = {"key": CONTACT, "name": "", "username": None, "phone": None, "language": None}
    fields: dict[str, Any] = {
        **INBOUND,
        "type": "contact.changed.v1",
        "event_id": event_id,
        "recorded_at": NOON,
        "previous_phone": more.pop("previous_phone", None),
        "is_new_number": more.pop("is_new_number", False),
        "happened_at": NOON,
    }
    return ContactChanged(**fields | {"contact": Contact.model_validate(contact | more)})


def turned(available: bool, at: datetime, event_id: str = "a") -> ContactAvailability:
    return ContactAvailability(
        **INBOUND,
        type="contact.availability.v1",
        event_id=event_id,
        recorded_at=NOON,
        available=available,
        happened_at=at,
    )


def reported(message_id: str, state: MessageState, **more: Any) -> DeliveryReported:
    fields: dict[str, Any] = {
        **COMMON,
        "type": "delivery.reported.v1",
        "event_id": "r",
        "recorded_at": NOON,
        "message_id": message_id,
        "state": state,
        "provider_ids": [],
        "failure": None,
        "contact_blocked": False,
        "is_late_refusal": False,
        "happened_at": NOON,
        **more,
    }
    return DeliveryReported(**fields)


def reply(
    by: Person = OLENA, words: str = "Вітаю", client_msg_id: str = "key-0001", **more: Any
) -> PostReply:
    return PostReply(
        author=Author(AuthorKind.OPERATOR, by.id, by.name), client_msg_id=client_msg_id, text=words, **more
    )


def photo(ref: str = "photo-1", words: str = "") -> Content:
    media = MediaRef(
        ref=ref,
        kind=MessageKind.IMAGE,
        name=None,
        mime="image/jpeg",
        size_bytes=1000,
        width=640,
        height=480,
        duration_s=None,
    )
    return content(MessageKind.IMAGE, text=words, media=[media])


def settled(provider_id: str = "1", ref: str = "photo-1", **more: Any) -> MediaSettled:
    message_id = inbound_message_id(CONVERSATION, provider_id)
    stored = StoredMedia(
        key="objects/1",
        mime="image/png",
        size_bytes=900,
        width=600,
        height=400,
        duration_s=None,
        thumb_key="objects/2",
    )
    fields: dict[str, Any] = {
        **COMMON,
        "type": "media.settled.v1",
        "event_id": "m",
        "recorded_at": NOON,
        "message_id": message_id,
        "attachment_id": attachment_id(message_id, ref),
        "stored": stored,
        "reason": None,
        "happened_at": NOON,
        **more,
    }
    return MediaSettled(**fields)


class Talk:
    """A conversation that grows one commit per command."""

    def __init__(self, door: Door | None = None) -> None:
        self.state = State(
            id=CONVERSATION, tenant_id="salon", channel_id=CHANNEL, channel_kind="telegram_bot"
        )
        self.door = door or Door()
        self.commits: list[Commit] = []
        self.now = NOON

    def does(self, command: Command) -> tuple[Event, ...] | Refusal:
        self.now += timedelta(seconds=1)
        moment = Moment(self.state.v + 1, self.now, len(self.commits) + 1)
        decision = decide(self.state, command, moment, self.door)
        if isinstance(decision, Refusal) or not decision:
            return decision
        commit = Commit(
            tenant_id="salon",
            conversation_id=CONVERSATION,
            channel_id=CHANNEL,
            channel_kind="telegram_bot",
            v=moment.v,
            events=decision,
            at=self.now,
            partition=0,
            relayed=True,
        )
        self.commits.append(commit)
        self.state = fold(self.state, commit)
        return decision

    def done(self, command: Command) -> tuple[Any, ...]:
        """The events of a command that is not refused."""
        decision = self.does(command)
        assert not isinstance(decision, Refusal), decision
        return decision

    def refused(self, command: Command) -> Refusal:
        decision = self.does(command)
        assert isinstance(decision, Refusal), decision
        return decision

    @property
    def dialogue(self) -> list[Message]:
        return sorted(self.state.messages.values(), key=lambda message: (message.pos_at, message.n))

    @property
    def answer_id(self) -> str:
        return next(m.id for m in self.dialogue if m.direction is Direction.OUT)
