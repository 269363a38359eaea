"""A conversation's state machine beside a simple model of what people would expect: what both work with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine

from inbox.domain import (
    COMMIT,
    STATE,
    Author,
    Body,
    Command,
    Commit,
    Door,
    Message,
    Messenger,
    Moment,
    Person,
    PostReply,
    Refusal,
    State,
    changed_ids,
    decide,
    dedupe_id,
    fold,
    message_view,
    referenced_ids,
    referenced_provider_ids,
    row_view,
)
from msgkit.contracts.events import (
    Contact,
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
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import STATE_RANK, AuthorKind, MessageKind, MessageState

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CONVERSATION = conversation_id("c1", "501")
OPERATORS = (Person("u-olena", "Олена"), Person("u-ivan", "Іван"))
CONTACT = Contact(key="501", name="Оля", username=None, phone=None, language=None)
WORDS = st.sampled_from(["так", "ні", "о котрій?", "дякую"])
CLOUD = Messenger(24, has_templates=True, human_reply_window_hours=168)
WINDOW = timedelta(hours=24) - timedelta(seconds=30)
HUMAN_WINDOW = timedelta(days=7) - timedelta(seconds=30)
BY_PROVIDER_ID = (
    MessageReceived,
    MessageEchoed,
    MessageEdited,
    MessageDeleted,
    MessageRecalled,
    ReactionChanged,
)
EMPTY = State(id=CONVERSATION, tenant_id="salon", channel_id="c1", channel_kind="telegram_bot")


@dataclass
class Said:
    """A message of the client in the model: what it says, over time."""

    text: str
    told: list[tuple[datetime, int, str]] = field(default_factory=list)


@dataclass
class Signing:
    """A reaction ordered here."""

    target: str
    emoji: str
    at: datetime
    state: MessageState = MessageState.QUEUED
    is_refused: bool = False

    @property
    def rank(self) -> float:
        late = self.state is MessageState.FAILED and self.is_refused
        return 4.5 if late else STATE_RANK[self.state]

    @property
    def is_out(self) -> bool:
        return self.state in (MessageState.SENT, MessageState.DELIVERED, MessageState.READ)


@dataclass
class Once:
    """A message of the history."""

    text: str
    at: datetime
    is_photo: bool = False


@dataclass
class Answered:
    by: str
    text: str
    n: int
    state: MessageState = MessageState.QUEUED
    attempt: int = 1
    deleted: bool = False
    is_template: bool = False
    is_named: bool = False
    """Whether the messenger's id of it is known."""
    after: int = 0
    """How many messages of the client there were when it was ordered."""
    refused: set[int] = field(default_factory=set)

    @property
    def rank(self) -> float:
        late = self.state is MessageState.FAILED and self.attempt in self.refused
        return 4.5 if late else STATE_RANK[self.state]


@dataclass
class Echo:
    """Said elsewhere; `at` is the messenger's time."""

    provider_id: str
    kind: str
    text: str
    at: datetime


@dataclass
class Photo:
    caption: str
    state: str = "pending"


class Machine(RuleBasedStateMachine):
    """Does commands as the service does, keeps the log, and holds the model beside it."""

    def __init__(self) -> None:
        super().__init__()
        self.state = EMPTY
        self.store: dict[str, Message] = {}
        self.log: list[Commit] = []
        self.taken: set[str] = set()
        self.now = START
        self.counter = 0
        # the model
        self.said: dict[str, Said] = {}
        self.early: dict[str, list[tuple[datetime, int, str]]] = {}
        self.answers: dict[str, Answered] = {}
        self.photos: dict[str, Photo] = {}
        self.parked: list[Echo] = []
        self.shown: list[Echo] = []
        self.typed_elsewhere: dict[str, int] = {}
        self.replaced: dict[str, str] = {}
        self.last_written = START
        self.bot_is_on = False
        self.handler = "operator"
        self.count = 0
        self.inbound = 0
        self.read_by_answer = 0
        self.blocked = False
        self.status = "open"
        self.assignee: str | None = None
        self.requests = 0
        self.first_reply = False
        self.heard_at: datetime | None = None
        self.is_shut = False
        self.late_shut_at: datetime | None = None
        self.human_agent = False
        self.human_agent_at: datetime | None = None
        self.gone: set[str] = set()
        """The messenger's ids of what was taken back, also of what has not come."""
        self.signs: dict[str, dict[bool, tuple[datetime, str | None]]] = {}
        self.signings: dict[str, Signing] = {}
        self.history: dict[str, Once] = {}
        self.vanished = 0
        """Numbers of recalled messages that came as news after all."""

    # ------------------------------------------------------------ the machine

    def _do(self, command: Command) -> tuple[Any, ...] | Refusal:
        """Decide as the service does: only what the command refers to is in hand."""
        self.now += timedelta(seconds=1)
        once = dedupe_id(command)
        if once is not None and once in self.taken and not isinstance(command, PostReply):
            return ()
        ids = referenced_ids(self.state, command)
        state = self.state.with_messages(self.store[id_] for id_ in ids if id_ in self.store)
        if isinstance(command, BY_PROVIDER_ID):
            named = set(referenced_provider_ids(command))
            state = state.with_messages(m for m in self.store.values() if named & set(m.provider_ids))
        # What is found may refer to another.
        ids = referenced_ids(state, command)
        state = state.with_messages(self.store[id_] for id_ in ids if id_ in self.store)
        moment = Moment(state.v + 1, self.now, len(self.log) + 1)
        door = Door(
            bot_enabled=self.bot_is_on,
            messenger=CLOUD,
            human_agent=self.human_agent,
            human_agent_at=self.human_agent_at,
        )
        decision = decide(state, command, moment, door)
        if isinstance(decision, Refusal):
            return decision
        fresh = tuple(event for event in decision if event.dedupe_id not in self.taken)
        if not fresh:
            return ()
        self.taken.update(event.dedupe_id for event in fresh)
        commit = Commit(
            tenant_id="salon",
            conversation_id=CONVERSATION,
            channel_id="c1",
            channel_kind="telegram_bot",
            v=moment.v,
            events=fresh,
            at=self.now,
            partition=0,
            relayed=True,
        )
        self.log.append(commit)
        self._fold(commit)
        return fresh

    def _fold(self, commit: Commit) -> None:
        needed = changed_ids(commit.events)
        state = fold(self.state.with_messages(self.store[id_] for id_ in needed), commit)
        self.store.update(state.messages)
        self.state = replace(state, messages={})

    def _inbound(self) -> dict[str, Any]:
        self.counter += 1
        return {
            "tenant_id": "salon",
            "channel_id": "c1",
            "channel_kind": "telegram_bot",
            "conversation_id": CONVERSATION,
            "webhook_id": "w",
            "raw": "{}",
            "contact": CONTACT,
            "event_id": f"e{self.counter}",
            "recorded_at": self.now,
        }

    def _message(self, provider_id: str, content: Content, is_standby: bool = False) -> MessageReceived:
        return MessageReceived(
            **self._inbound(),
            type="message.received.v1",
            provider_id=provider_id,
            provider_seq=int(provider_id),
            sent_at=self.now,
            content=content,
            reply_to_provider_id=None,
            start_payload=None,
            group_id=None,
            pressed=None,
            is_standby=is_standby,
        )

    def _is_gone(self, provider_id: str) -> bool:
        """Whether it came and was taken back."""
        return provider_id in self.gone and inbound_message_id(CONVERSATION, provider_id) in self.store

    @property
    def is_window_closed_for_bots(self) -> bool:
        """As it will be for the next command, a second later."""
        is_over = self.heard_at is None or self.now + timedelta(seconds=1) >= self.heard_at + WINDOW
        return is_over or self.is_shut

    @property
    def is_window_closed(self) -> bool:
        """The same for a person."""
        if self.heard_at is None or not self.human_agent:
            return self.is_window_closed_for_bots
        age = self.now + timedelta(seconds=1) - self.heard_at
        if age < WINDOW:
            return self.is_shut
        said = self.late_shut_at
        is_refused = said is not None and (self.human_agent_at is None or said >= self.human_agent_at)
        return age >= HUMAN_WINDOW or is_refused

    def _body_of(self, provider_id: str) -> Body | None:
        message = self.store.get(inbound_message_id(CONVERSATION, provider_id))
        if message is not None:
            return message.body
        return next((one.body for one in self.state.parked_echoes if one.provider_id == provider_id), None)

    @property
    def forgotten(self) -> set[str]:
        """Echoes that waited in vain: too many others came."""
        return {id_ for id_ in self.photos if self._body_of(id_) is None}

    def _fold_onto_newer_messages(self) -> None:
        """A crash between two projections leaves a conversation behind its messages."""
        cut = len(self.log) // 2
        state = EMPTY
        for commit in self.log[:cut]:
            state = fold(state, commit)
        newer = {id_: message for id_, message in self.store.items() if id_ in state.messages}
        state = replace(state, messages=newer)
        for commit in self.log[cut:]:
            state = fold(state, commit)
        assert replace(state, messages={}) == self.state
        assert {id_: replace(m, rev=0) for id_, m in state.messages.items()} == {
            id_: replace(m, rev=0) for id_, m in self.store.items()
        }

    def teardown(self) -> None:
        """The log alone gives the same again, also after a turn in the store and onto newer messages."""
        self._fold_onto_newer_messages()
        state, store = EMPTY, dict[str, Message]()
        for commit in self.log:
            stored = COMMIT.validate_python(COMMIT.dump_python(commit))
            needed = changed_ids(stored.events)
            folded = fold(state.with_messages(store[id_] for id_ in needed), stored)
            store.update(folded.messages)
            state = STATE.validate_python(STATE.dump_python(replace(folded, messages={})))
        assert state == self.state
        assert store == self.store
        for message in store.values():
            MessageView.model_validate(message_view(message))
        if state.n:
            ConversationRow.model_validate(row_view(state, "Telegram"))


def words_content(words: str) -> Content:
    return Content(
        kind=MessageKind.TEXT,
        text=words,
        entities=[],
        media=[],
        place=None,
        shared_contact=None,
        shared_link=None,
        unsupported=None,
    )


def photo_content(words: str) -> Content:
    ref = MediaRef(
        ref="photo",
        kind=MessageKind.IMAGE,
        name=None,
        mime=None,
        size_bytes=None,
        width=None,
        height=None,
        duration_s=None,
    )
    return words_content(words).model_copy(update={"kind": MessageKind.IMAGE, "media": [ref]})


def file_settled(provider_id: str, is_lost: bool, at: datetime) -> MediaSettled:
    message_id = inbound_message_id(CONVERSATION, provider_id)
    stored = StoredMedia(
        key="k", mime="image/png", size_bytes=9, width=3, height=2, duration_s=None, thumb_key=None
    )
    return MediaSettled(
        tenant_id="salon",
        channel_id="c1",
        channel_kind="telegram_bot",
        conversation_id=CONVERSATION,
        type="media.settled.v1",
        event_id="m",
        recorded_at=at,
        message_id=message_id,
        attachment_id=attachment_id(message_id, "photo"),
        stored=None if is_lost else stored,
        reason="gone" if is_lost else None,
        happened_at=at,
    )


def posted(who: int, words: str, key: str, **more: Any) -> PostReply:
    by = OPERATORS[who]
    return PostReply(
        author=Author(AuthorKind.OPERATOR, by.id, by.name), client_msg_id=key, text=words, **more
    )


def tell_edit(said: Said, at: datetime, turn: int, words: str) -> None:
    """What an edit does to the model: told in the order of its time, the same words again are no edit."""
    is_newest = not said.told or at >= said.told[-1][0]
    current = said.told[-1][2] if said.told else said.text
    if is_newest and words == current:
        return
    if any((when, text) == (at, words) for when, _, text in said.told):
        return
    said.told.append((at, turn, words))
    said.told.sort(key=lambda told: told[0])


def delivery(order: str, state: MessageState, at: datetime, late: bool = False) -> DeliveryReported:
    return DeliveryReported(
        tenant_id="salon",
        channel_id="c1",
        channel_kind="telegram_bot",
        conversation_id=CONVERSATION,
        type="delivery.reported.v1",
        event_id="r",
        recorded_at=at,
        message_id=order,
        state=state,
        provider_ids=[],
        failure=None,
        contact_blocked=False,
        is_late_refusal=late,
        happened_at=at,
    )
