"""The state machine of a conversation against a simple model of what people would expect."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, invariant, precondition, rule

from inbox.domain import (
    COMMIT,
    STATE,
    AnswerOrdered,
    AnswerReordered,
    Assign,
    Author,
    Body,
    Claim,
    Command,
    Commit,
    DeleteAnswer,
    Door,
    Message,
    Moment,
    Person,
    PostReply,
    Refusal,
    Release,
    Resolve,
    Retry,
    ReturnToBot,
    SetStatus,
    State,
    TakeOver,
    changed_ids,
    decide,
    dedupe_id,
    fold,
    message_view,
    order_id,
    referenced_ids,
    reply_message_id,
    row_view,
    unread,
)
from msgkit.contracts.events import (
    Contact,
    ContactAvailability,
    Content,
    DeliveryReported,
    MediaRef,
    MediaSettled,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    StoredMedia,
)
from msgkit.contracts.ids import attachment_id, conversation_id, inbound_message_id
from msgkit.contracts.views import ConversationRow, MessageView
from msgkit.contracts.words import STATE_RANK, AuthorKind, Direction, MessageKind, MessageState, Status

START = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
CONVERSATION = conversation_id("c1", "501")
OPERATORS = (Person("u-olena", "Олена"), Person("u-ivan", "Іван"))
CONTACT = Contact(key="501", name="Оля", username=None, phone=None, language=None)
WORDS = st.sampled_from(["так", "ні", "о котрій?", "дякую"])
EMPTY = State(id=CONVERSATION, tenant_id="salon", channel_id="c1", channel_kind="telegram_bot")


@dataclass
class Said:
    """A message of the client in the model: what it says, over time."""

    text: str
    told: list[tuple[datetime, int, str]] = field(default_factory=list)


@dataclass
class Answered:
    by: str
    text: str
    n: int
    state: MessageState = MessageState.QUEUED
    attempt: int = 1
    deleted: bool = False
    is_named: bool = False
    """Whether the messenger's id of it is known."""
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


class Conversation(RuleBasedStateMachine):
    """Rules are what can happen; the model is written without looking at the code it checks."""

    provider_ids: Bundle[str] = Bundle("provider_ids")
    photo_ids: Bundle[str] = Bundle("photo_ids")
    echo_ids: Bundle[tuple[str, str]] = Bundle("echo_ids")
    client_keys: Bundle[tuple[int, str, str]] = Bundle("client_keys")

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

    # ------------------------------------------------------------ the machine

    def _do(self, command: Command) -> tuple[Any, ...] | Refusal:
        """Decide as the service does: only what the command refers to is in hand."""
        self.now += timedelta(seconds=1)
        once = dedupe_id(command)
        if once is not None and once in self.taken and not isinstance(command, PostReply):
            return ()
        ids = referenced_ids(self.state, command)
        state = self.state.with_messages(self.store[id_] for id_ in ids if id_ in self.store)
        moment = Moment(state.v + 1, self.now, len(self.log) + 1)
        decision = decide(state, command, moment, Door(bot_enabled=self.bot_is_on))
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

    def _message(self, provider_id: str, content: Content) -> MessageReceived:
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
        )

    # ------------------------------------------------------------ rules

    @rule(target=provider_ids, words=WORDS)
    def receive(self, words: str) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        self._receive(provider_id, words)
        return provider_id

    @rule(target=provider_ids, words=WORDS, edits=st.lists(st.tuples(st.integers(1, 5), WORDS), max_size=3))
    def receive_after_its_edits(self, words: str, edits: list[tuple[int, str]]) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        base = self.now
        for offset, text in edits:
            self._edit(provider_id, text, base + timedelta(minutes=offset))
        self._receive(provider_id, words)
        return provider_id

    def _receive(self, provider_id: str, words: str) -> None:
        self._arrive(provider_id, _content(words))
        said = self.said[provider_id] = Said(words, [])
        for told in sorted(self.early.pop(provider_id, []), key=lambda told: told[0]):
            _model_edit(said, *told)

    def _arrive(self, provider_id: str, content: Content) -> None:
        result = self._do(self._message(provider_id, content))
        assert not isinstance(result, Refusal)
        self.count += self.blocked  # the line about the return
        self._show_parked()
        self.count += 1
        self.inbound += 1
        self.last_written = self.now
        if self.status == "closed" or self.requests == 0:
            self.requests += 1
            self.assignee, self.first_reply = None, False
            self.handler = "bot" if self.bot_is_on else "operator"
        self.status = "open"
        self.blocked = False

    def _show_parked(self) -> None:
        self.count += len(self.parked)
        self.shown += self.parked
        self.parked = []

    @rule(
        target=echo_ids,
        words=WORDS,
        kind=st.sampled_from(["bot", "operator"]),
        minutes_ago=st.integers(0, 3),
        is_photo=st.booleans(),
    )
    def echo(self, words: str, kind: str, minutes_ago: int, is_photo: bool) -> tuple[str, str]:
        self.counter += 1
        said = Echo(f"echo-{self.counter}", kind, words, self.now - timedelta(minutes=minutes_ago))
        content = _photo(words) if is_photo else _content(words)
        assert not isinstance(self._do(self._echo(said, content)), Refusal)
        if is_photo:
            self.photos[said.provider_id] = Photo(words)
        is_closed = self.requests == 0 or self.status == "closed"
        if kind == "bot" and is_closed:
            self.parked = [*self.parked, said][-10:]
        else:
            self._show_echo(said)
        return said.provider_id, kind

    def _show_echo(self, said: Echo) -> None:
        is_closed = self.requests == 0 or self.status == "closed"
        if said.kind == "operator":
            if is_closed:
                self.requests += 1
                self.assignee, self.status = None, "open"
            elif self.handler == "bot":
                self.count += 1  # the line about it
            self.handler, self.first_reply = "operator", True
            if said.at >= self.last_written:
                self.read_by_answer = self.inbound
        self._show_parked()
        self.count += 1
        self.shown.append(said)
        if said.kind == "operator":
            self.typed_elsewhere[said.provider_id] = self.count

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50))
    def echo_of_an_answer(self, which: int) -> None:
        """Its connector let it through."""
        message_id, answer = self._some_answer(which)
        provider_id = f"of-{message_id}"
        said = Echo(provider_id, "operator", answer.text, self.now)
        is_known = answer.is_named or provider_id in self.typed_elsewhere
        assert bool(self._do(self._echo(said, _content(answer.text)))) is not is_known
        if not is_known:
            self._show_echo(said)

    def _echo(self, said: Echo, content: Content) -> MessageEchoed:
        return MessageEchoed(
            **self._inbound(),
            type="message.echoed.v1",
            provider_id=said.provider_id,
            provider_seq=self.counter,
            sent_at=said.at,
            author_kind=AuthorKind.BOT if said.kind == "bot" else AuthorKind.OPERATOR,
            content=content,
            buttons=[],
            reply_to_provider_id=None,
        )

    @rule(told=echo_ids, words=WORDS)
    def echo_again(self, told: tuple[str, str], words: str) -> None:
        said = Echo(told[0], told[1], words, self.now)
        assert self._do(self._echo(said, _content(words))) == ()

    @rule(told=echo_ids, is_lost=st.booleans())
    def settle_a_file_of_an_echo(self, told: tuple[str, str], is_lost: bool) -> None:
        if told[0] in self.photos:
            self._settle(told[0], is_lost)

    @rule(target=photo_ids, words=WORDS)
    def receive_a_photo(self, words: str) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        self._arrive(provider_id, _photo(words))
        self.photos[provider_id] = Photo(words)
        return provider_id

    @rule(provider_id=photo_ids, words=WORDS)
    def edit_a_caption(self, provider_id: str, words: str) -> None:
        event = MessageEdited(
            **self._inbound(),
            type="message.edited.v1",
            provider_id=provider_id,
            edited_at=self.now,
            content=_photo(words),
        )
        assert not isinstance(self._do(event), Refusal)
        self.photos[provider_id].caption = words

    @rule(provider_id=photo_ids, is_lost=st.booleans())
    def settle(self, provider_id: str, is_lost: bool) -> None:
        self._settle(provider_id, is_lost)

    def _settle(self, provider_id: str, is_lost: bool) -> None:
        photo = self.photos[provider_id]
        decision = self._do(_settled(provider_id, is_lost, self.now))
        assert not isinstance(decision, Refusal)
        is_there = provider_id not in self.forgotten
        assert bool(decision) is (photo.state == "pending" and is_there)
        if photo.state == "pending":
            photo.state = "lost" if is_lost else "ready"

    @rule(ref=st.sampled_from(["7", "nothing"]))
    def settle_what_is_not_there(self, ref: str) -> None:
        assert self._do(_settled(f"{ref}-missing", True, self.now)) == ()

    @rule(provider_id=provider_ids)
    def receive_again(self, provider_id: str) -> None:
        assert self._do(self._message(provider_id, _content(self.said[provider_id].text))) == ()

    @rule(provider_id=provider_ids, words=WORDS, offset=st.integers(-3, 3))
    def edit(self, provider_id: str, words: str, offset: int) -> None:
        self._edit(provider_id, words, self.now + timedelta(minutes=offset))

    def _edit(self, provider_id: str, words: str, at: datetime) -> None:
        event = MessageEdited(
            **self._inbound(),
            type="message.edited.v1",
            provider_id=provider_id,
            edited_at=at,
            content=_content(words),
        )
        repeat = dedupe_id(event) in self.taken
        self._do(event)
        if repeat:
            return
        said = self.said.get(provider_id)
        if said is None:
            self.early.setdefault(provider_id, []).append((at, self.counter, words))
        else:
            _model_edit(said, at, self.counter, words)

    @rule(target=client_keys, who=st.integers(0, 1), words=WORDS, sees=st.integers(0, 2), force=st.booleans())
    def reply(self, who: int, words: str, sees: int, force: bool) -> tuple[int, str, str]:
        self.counter += 1
        by, key = OPERATORS[who], f"key-{self.counter:06}"
        seen_n = max(0, self.count - sees)
        result = self._do(_reply(who, words, key, seen_n=seen_n, force=force))
        others = [answer.n for answer in self.answers.values() if answer.by != by.id]
        others += self.typed_elsewhere.values()
        must_refuse = self.count == 0 or self.blocked or (not force and bool(others) and max(others) > seen_n)
        assert isinstance(result, Refusal) is must_refuse, result
        if not must_refuse:
            if self.status == "closed":
                self.requests += 1
                self.status, self.assignee = "open", None
            elif self.handler == "bot":
                self.count += 1  # the line about it
            self.handler = "operator"
            self._show_parked()
            self.count += 1
            message_id = reply_message_id(CONVERSATION, by.id, key)
            self.answers[message_id] = Answered(by.id, words, self.count)
            self.assignee = self.assignee or by.id
            self.read_by_answer, self.first_reply = self.inbound, True
        return who, words, key

    @rule(sent=client_keys)
    def reply_again(self, sent: tuple[int, str, str]) -> None:
        who, words, key = sent
        if reply_message_id(CONVERSATION, OPERATORS[who].id, key) not in self.answers:
            return
        assert self._do(_reply(who, words, key, seen_n=0)) == ()
        other = self._do(_reply(who, words + "!", key, force=True))
        assert isinstance(other, Refusal)
        assert other.status == 422

    def _some_answer(self, which: int) -> tuple[str, Answered]:
        message_id = sorted(self.answers)[which % len(self.answers)]
        return message_id, self.answers[message_id]

    @precondition(lambda self: self.answers)
    @rule(
        which=st.integers(0, 50),
        state=st.sampled_from(list(MessageState)[1:]),
        blocked=st.booleans(),
        late=st.booleans(),
        before=st.integers(0, 2),
        names=st.booleans(),
    )
    def report(
        self, which: int, state: MessageState, blocked: bool, late: bool, before: int, names: bool
    ) -> None:
        message_id, answer = self._some_answer(which)
        attempt = max(1, answer.attempt - before)
        order = order_id(message_id, attempt)
        blocked = blocked and state is MessageState.FAILED
        late = late and state is MessageState.FAILED
        rank = 4.5 if late else STATE_RANK[state]
        repeat = f"status:{order}:{rank}" in self.taken
        event = DeliveryReported(
            tenant_id="salon",
            channel_id="c1",
            channel_kind="telegram_bot",
            conversation_id=CONVERSATION,
            type="delivery.reported.v1",
            event_id="r",
            recorded_at=self.now,
            message_id=order,
            state=state,
            provider_ids=[f"of-{message_id}"] if names else [],
            failure=None,
            contact_blocked=blocked,
            is_late_refusal=late,
            happened_at=self.now + timedelta(seconds=1),
        )
        blocked_before = f"blocked-by:{order}" in self.taken
        assert not isinstance(self._do(event), Refusal)
        if repeat:
            return
        has_it = state in (MessageState.SENT, MessageState.DELIVERED, MessageState.READ)
        counts = attempt == answer.attempt if not has_it else True
        if state is MessageState.SENT and attempt in answer.refused:
            counts = False  # the messenger took it, and took that back
        rises = counts and rank > answer.rank
        if late:
            answer.refused.add(attempt)
        if rises:
            answer.state = state
            answer.deleted = answer.deleted and not has_it
        if names:
            answer.is_named = True
            self._replace_echo(f"of-{message_id}", message_id)
        if blocked and not self.blocked and not blocked_before:
            self.blocked = True
            self.count += 1

    def _replace_echo(self, provider_id: str, message_id: str) -> None:
        """One message remains, whatever came first."""
        if self.typed_elsewhere.pop(provider_id, None) is not None:
            self.shown = [echo for echo in self.shown if echo.provider_id != provider_id]
            self.replaced[provider_id] = message_id

    @rule(available=st.booleans())
    def turn(self, available: bool) -> None:
        event = ContactAvailability(
            **self._inbound(),
            type="contact.availability.v1",
            available=available,
            happened_at=self.now + timedelta(seconds=1),
        )
        self._do(event)
        if self.count == 0:
            return
        if available is self.blocked:
            self.count += 1
        self.blocked = not available

    @rule(status=st.sampled_from(["open", "waiting", "closed"]), who=st.integers(0, 1))
    def set_status(self, status: str, who: int) -> None:
        result = self._do(SetStatus(Status(status), OPERATORS[who]))
        nonsense = status == "waiting" and (self.status == "closed" or self.handler == "bot")
        changes = self.count > 0 and status != self.status
        assert isinstance(result, Refusal) is (self.count == 0 or (changes and nonsense))
        if changes and not nonsense:
            self.status = status
            self.count += 1
            if status == "closed":
                self.read_by_answer = self.inbound

    @rule(who=st.integers(0, 1))
    def claim(self, who: int) -> None:
        by = OPERATORS[who]
        result = self._do(Claim(by))
        may = self.count > 0 and self.status != "closed" and self.assignee in (None, by.id)
        assert isinstance(result, Refusal) is not may
        if may and (self.handler == "bot" or self.assignee is None):
            self._held_by(by)

    def _held_by(self, by: Person) -> None:
        self.handler, self.assignee = "operator", by.id
        self.count += 1

    @property
    def _is_open(self) -> bool:
        return self.count > 0 and self.status != "closed"

    @rule(is_on=st.booleans())
    def switch_the_bot(self, is_on: bool) -> None:
        self.bot_is_on = is_on

    @rule(who=st.integers(0, 1))
    def take_over(self, who: int) -> None:
        by = OPERATORS[who]
        result = self._do(TakeOver(by))
        may = self._is_open and (self.handler == "bot" or self.assignee == by.id)
        assert isinstance(result, Refusal) is not may
        if may and self.handler == "bot":
            self._held_by(by)

    @rule(who=st.integers(0, 1), to=st.integers(0, 1))
    def assign(self, who: int, to: int) -> None:
        result = self._do(Assign(OPERATORS[to], OPERATORS[who]))
        assert isinstance(result, Refusal) is not self._is_open
        if self._is_open and (self.handler == "bot" or self.assignee != OPERATORS[to].id):
            self._held_by(OPERATORS[to])

    @rule(who=st.integers(0, 1))
    def release(self, who: int) -> None:
        result = self._do(Release(OPERATORS[who]))
        assert isinstance(result, Refusal) is not self._is_open
        if self._is_open and self.assignee is not None:
            self.assignee = None
            self.count += 1

    @rule(who=st.integers(0, 1))
    def return_to_bot(self, who: int) -> None:
        result = self._do(ReturnToBot(OPERATORS[who]))
        may = self._is_open and (self.handler == "bot" or self.bot_is_on)
        assert isinstance(result, Refusal) is not may
        if may and self.handler == "operator":
            self.handler, self.assignee, self.status = "bot", None, "open"
            self.count += 1

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50), who=st.integers(0, 1))
    def retry(self, which: int, who: int) -> None:
        message_id, answer = self._some_answer(which)
        result = self._do(Retry(message_id, OPERATORS[who]))
        may = answer.state is MessageState.FAILED and not answer.deleted and not self.blocked
        assert isinstance(result, Refusal) is not may
        if may:
            answer.state, answer.attempt = MessageState.QUEUED, answer.attempt + 1

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50), action=st.sampled_from(["sent", "failed", "resend"]))
    def resolve(self, which: int, action: Any) -> None:
        message_id, answer = self._some_answer(which)
        result = self._do(Resolve(message_id, action, OPERATORS[0]))
        may = answer.state is MessageState.UNKNOWN and not answer.deleted
        may = may and not (action == "resend" and self.blocked)
        assert isinstance(result, Refusal) is not may
        if may and action == "resend":
            answer.state, answer.attempt = MessageState.QUEUED, answer.attempt + 1
        elif may:
            answer.state = MessageState(action)

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50))
    def delete(self, which: int) -> None:
        message_id, answer = self._some_answer(which)
        result = self._do(DeleteAnswer(message_id, OPERATORS[0]))
        waits = (MessageState.QUEUED, MessageState.FAILED, MessageState.UNKNOWN)
        may = answer.deleted or answer.state in waits
        assert isinstance(result, Refusal) is not may
        if may:
            answer.deleted = True

    # ------------------------------------------------------------ what must hold

    @invariant()
    def it_shows_what_the_model_says(self) -> None:
        state = self.state
        assert (state.n, state.in_seq) == (self.count, self.inbound)
        assert state.blocked == self.blocked
        assert (state.assignee.id if state.assignee else None) == self.assignee
        assert state.status == self.status
        assert state.handler == self.handler
        assert (state.assigned_at is None) is (state.assignee is None)
        is_for_people = self.status != "closed" and self.handler == "operator"
        assert unread(state, 0) == (self.inbound - self.read_by_answer if is_for_people else 0)
        for provider_id, said in self.said.items():
            message = self.store[inbound_message_id(CONVERSATION, provider_id)]
            assert message.body.text == (said.told[-1][2] if said.told else said.text)
            assert len(message.versions) == len(said.told)
        for message_id, answer in self.answers.items():
            message = self.store[message_id]
            assert (message.state, message.body.text, message.n) == (answer.state, answer.text, answer.n)
            assert (message.attempt, message_view(message)["deleted"]) == (answer.attempt, answer.deleted)
        for provider_id, photo in self.photos.items():
            body = self._body_of(provider_id)
            if body is not None:
                assert body.text == photo.caption
                assert [file.state for file in body.attachments] == [photo.state]
        assert [one.provider_id for one in state.parked_echoes] == [one.provider_id for one in self.parked]
        for echo in self.shown:
            message = self.store[inbound_message_id(CONVERSATION, echo.provider_id)]
            assert (message.body.text, message.author.kind, message.state) == (echo.text, echo.kind, "sent")
            assert message.direction is Direction.OUT
        for provider_id, ordered in self.replaced.items():
            assert self.store[inbound_message_id(CONVERSATION, provider_id)].replaced_by == ordered
        gone = [message.id for message in self.store.values() if message.replaced_by is not None]
        assert len(gone) == len(self.replaced)
        assert state.last_message is None or state.last_message.id not in gone
        box = None
        if self.count:
            answered = "active" if self.first_reply else "new"
            box = {"closed": "done", "waiting": "waiting"}.get(
                self.status, "bot" if self.handler == "bot" else answered
            )
        assert state.box == box

    def _body_of(self, provider_id: str) -> Body | None:
        message = self.store.get(inbound_message_id(CONVERSATION, provider_id))
        if message is not None:
            return message.body
        return next((one.body for one in self.state.parked_echoes if one.provider_id == provider_id), None)

    @property
    def forgotten(self) -> set[str]:
        """Echoes that waited in vain: too many others came."""
        return {id_ for id_ in self.photos if self._body_of(id_) is None}

    @invariant()
    def numbers_have_no_gap(self) -> None:
        assert sorted(message.n for message in self.store.values()) == list(range(1, self.count + 1))
        dialogue = sorted(self.store.values(), key=lambda message: (message.pos_at, message.n))
        ours = [message.n for message in dialogue if message.direction is Direction.OUT]
        assert ours == sorted(ours)
        ids = [event.dedupe_id for commit in self.log for event in commit.events]
        assert len(ids) == len(set(ids))
        orders = [
            event.out_seq
            for commit in self.log
            for event in commit.events
            if isinstance(event, AnswerOrdered | AnswerReordered)
        ]
        assert orders == list(range(1, len(orders) + 1))

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


def _content(words: str) -> Content:
    return Content(
        kind=MessageKind.TEXT,
        text=words,
        entities=[],
        media=[],
        place=None,
        shared_contact=None,
        unsupported=None,
    )


def _photo(words: str) -> Content:
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
    return _content(words).model_copy(update={"kind": MessageKind.IMAGE, "media": [ref]})


def _settled(provider_id: str, is_lost: bool, at: datetime) -> MediaSettled:
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


def _reply(who: int, words: str, key: str, **more: Any) -> PostReply:
    by = OPERATORS[who]
    return PostReply(
        author=Author(AuthorKind.OPERATOR, by.id, by.name), client_msg_id=key, text=words, **more
    )


def _model_edit(said: Said, at: datetime, turn: int, words: str) -> None:
    """What an edit does to the model: told in the order of its time, the same words again are no edit."""
    is_newest = not said.told or at >= said.told[-1][0]
    current = said.told[-1][2] if said.told else said.text
    if is_newest and words == current:
        return
    if any((when, text) == (at, words) for when, _, text in said.told):
        return
    said.told.append((at, turn, words))
    said.told.sort(key=lambda told: told[0])


Conversation.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestConversation = Conversation.TestCase
