"""What can happen in a dialogue, and what the model makes of it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import Bundle, precondition, rule
from inbox_model import (
    CONVERSATION,
    OPERATORS,
    WORDS,
    Answered,
    Echo,
    Machine,
    Photo,
    Said,
    file_settled,
    photo_content,
    posted,
    tell_edit,
    words_content,
)

from inbox.domain import (
    Assign,
    Author,
    Claim,
    DeleteAnswer,
    Person,
    PostReply,
    Refusal,
    Release,
    Resolve,
    Retry,
    ReturnToBot,
    SetStatus,
    TakeOver,
    Template,
    dedupe_id,
    order_id,
    reply_message_id,
)
from msgkit.contracts.events import (
    ContactAvailability,
    Content,
    DeliveryReported,
    Failure,
    MessageEchoed,
    MessageEdited,
)
from msgkit.contracts.words import STATE_RANK, AuthorKind, FailureCode, MessageState, Status

TOO_LATE = Failure(code=FailureCode.WINDOW_CLOSED, text="Час для відповіді минув.")


class Dialogue(Machine):
    """The rules; written without looking at the code they check."""

    provider_ids: Bundle[str] = Bundle("provider_ids")
    photo_ids: Bundle[str] = Bundle("photo_ids")
    echo_ids: Bundle[tuple[str, str]] = Bundle("echo_ids")
    client_keys: Bundle[tuple[int, str, str]] = Bundle("client_keys")

    @rule(hours=st.sampled_from([1, 25, 25, 150]))
    def wait(self, hours: int) -> None:
        self.now += timedelta(hours=hours)

    @rule(target=provider_ids, words=WORDS, is_standby=st.booleans())
    def receive(self, words: str, is_standby: bool) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        self._receive(provider_id, words, is_standby)
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

    def _receive(self, provider_id: str, words: str, is_standby: bool = False) -> None:
        self._arrive(provider_id, words_content(words), is_standby)
        said = self.said[provider_id] = Said(words, [])
        for told in sorted(self.early.pop(provider_id, []), key=lambda told: told[0]):
            tell_edit(said, *told)

    def _arrive(self, provider_id: str, content: Content, is_standby: bool = False) -> None:
        self.heard_at, self.is_shut, self.late_shut_at = self.now, False, None
        result = self._do(self._message(provider_id, content, is_standby))
        assert not isinstance(result, Refusal)
        self.count += self.blocked  # the line about the return
        self._show_parked()
        self.count += 1
        self.inbound += 1
        self.last_written = self.now
        if self.status == "closed" or self.requests == 0:
            self.requests += 1
            self.assignee, self.first_reply = None, False
            self.handler = "bot" if self.bot_is_on and not is_standby else "operator"
        elif is_standby and self.handler == "bot":
            self.handler = "operator"
            self.count += 1  # the line about it
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
        content = photo_content(words) if is_photo else words_content(words)
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
        assert bool(self._do(self._echo(said, words_content(answer.text)))) is not is_known
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
        assert self._do(self._echo(said, words_content(words))) == ()

    @rule(told=echo_ids, is_lost=st.booleans())
    def settle_a_file_of_an_echo(self, told: tuple[str, str], is_lost: bool) -> None:
        if told[0] in self.photos:
            self._settle(told[0], is_lost)

    @rule(target=photo_ids, words=WORDS)
    def receive_a_photo(self, words: str) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        self._arrive(provider_id, photo_content(words))
        self.photos[provider_id] = Photo(words)
        return provider_id

    @rule(provider_id=photo_ids, words=WORDS)
    def edit_a_caption(self, provider_id: str, words: str) -> None:
        event = MessageEdited(
            **self._inbound(),
            type="message.edited.v1",
            provider_id=provider_id,
            edited_at=self.now,
            content=photo_content(words),
        )
        assert not isinstance(self._do(event), Refusal)
        if provider_id not in self.gone:
            self.photos[provider_id].caption = words

    @rule(provider_id=photo_ids, is_lost=st.booleans())
    def settle(self, provider_id: str, is_lost: bool) -> None:
        self._settle(provider_id, is_lost)

    def _settle(self, provider_id: str, is_lost: bool) -> None:
        photo = self.photos[provider_id]
        decision = self._do(file_settled(provider_id, is_lost, self.now))
        assert not isinstance(decision, Refusal)
        is_there = provider_id not in self.forgotten and not self._is_gone(provider_id)
        assert bool(decision) is (photo.state == "pending" and is_there)
        if photo.state == "pending" and is_there:
            photo.state = "lost" if is_lost else "ready"

    @rule(ref=st.sampled_from(["7", "nothing"]))
    def settle_what_is_not_there(self, ref: str) -> None:
        assert self._do(file_settled(f"{ref}-missing", True, self.now)) == ()

    @rule(provider_id=provider_ids)
    def receive_again(self, provider_id: str) -> None:
        assert self._do(self._message(provider_id, words_content(self.said[provider_id].text))) == ()

    @rule(provider_id=provider_ids, words=WORDS, offset=st.integers(-3, 3))
    def edit(self, provider_id: str, words: str, offset: int) -> None:
        self._edit(provider_id, words, self.now + timedelta(minutes=offset))

    def _edit(self, provider_id: str, words: str, at: datetime) -> None:
        event = MessageEdited(
            **self._inbound(),
            type="message.edited.v1",
            provider_id=provider_id,
            edited_at=at,
            content=words_content(words),
        )
        repeat = dedupe_id(event) in self.taken
        self._do(event)
        if repeat or self._is_gone(provider_id):
            return
        said = self.said.get(provider_id)
        if said is None:
            self.early.setdefault(provider_id, []).append((at, self.counter, words))
        else:
            tell_edit(said, at, self.counter, words)

    @rule(
        target=client_keys,
        who=st.integers(0, 1),
        words=WORDS,
        sees=st.integers(0, 2),
        force=st.booleans(),
        is_template=st.booleans(),
    )
    def reply(self, who: int, words: str, sees: int, force: bool, is_template: bool) -> tuple[int, str, str]:
        self.counter += 1
        by, key = OPERATORS[who], f"key-{self.counter:06}"
        seen_n = max(0, self.count - sees)
        is_closed = self.is_window_closed and not is_template
        template = Template("visit", "uk", ()) if is_template else None
        result = self._do(posted(who, words, key, seen_n=seen_n, force=force, template=template))
        others = [answer.n for answer in self.answers.values() if answer.by != by.id]
        others += self.typed_elsewhere.values()
        is_answered = not force and bool(others) and max(others) > seen_n
        must_refuse = self.count == 0 or self.blocked or is_closed or is_answered
        assert isinstance(result, Refusal) is must_refuse, result
        if not must_refuse:
            if self.status == "closed" or self.requests == 0:
                self.requests += 1
                self.status, self.assignee = "open", None
            elif self.handler == "bot":
                self.count += 1  # the line about it
            self.handler = "operator"
            self._show_parked()
            self.count += 1
            message_id = reply_message_id(CONVERSATION, by.id, key)
            self.answers[message_id] = Answered(
                by.id, words, self.count, is_template=is_template, after=self.inbound
            )
            self.assignee = self.assignee or by.id
            self.read_by_answer, self.first_reply = self.inbound, True
        return who, words, key

    @rule(sent=client_keys)
    def reply_again(self, sent: tuple[int, str, str]) -> None:
        who, words, key = sent
        if reply_message_id(CONVERSATION, OPERATORS[who].id, key) not in self.answers:
            return
        answer = self.answers[reply_message_id(CONVERSATION, OPERATORS[who].id, key)]
        template = Template("visit", "uk", ()) if answer.is_template else None
        assert self._do(posted(who, words, key, seen_n=0, template=template)) == ()
        other = self._do(posted(who, words + "!", key, force=True))
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
        is_too_late=st.booleans(),
    )
    def report(
        self,
        which: int,
        state: MessageState,
        blocked: bool,
        late: bool,
        before: int,
        names: bool,
        is_too_late: bool,
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
            failure=TOO_LATE if is_too_late else None,
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
        is_news = rises or (late and attempt not in answer.refused and attempt < answer.attempt)
        if is_news and is_too_late and state is MessageState.FAILED and not answer.is_template:
            self._believe(answer, event.happened_at)
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

    def _believe(self, answer: Answered, at: datetime) -> None:
        """The messenger says that the time is over; all answers here are of people."""
        if answer.after != self.inbound:
            return
        if self.heard_at is not None and at - self.heard_at >= timedelta(hours=24):
            self.late_shut_at = self.now
        else:
            self.is_shut = True

    @rule(is_on=st.booleans())
    def let_people_answer_late(self, is_on: bool) -> None:
        if is_on is not self.human_agent:
            self.now += timedelta(seconds=1)
            self.human_agent, self.human_agent_at = is_on, self.now

    @precondition(lambda self: self.count > 0 and self.is_window_closed_for_bots)
    @rule()
    def a_bot_answers_too_late(self) -> None:
        self.counter += 1
        author = Author(AuthorKind.BOT, "bot", None)
        result = self._do(PostReply(author=author, client_msg_id=f"bot-{self.counter:06}", text="Вітаю"))
        assert isinstance(result, Refusal)

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
        may = answer.state is MessageState.FAILED and not self._is_away(message_id) and self._may_send(answer)
        result = self._do(Retry(message_id, OPERATORS[who]))
        assert isinstance(result, Refusal) is not may
        if may:
            answer.state, answer.attempt = MessageState.QUEUED, answer.attempt + 1

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50), action=st.sampled_from(["sent", "failed", "resend"]))
    def resolve(self, which: int, action: Any) -> None:
        message_id, answer = self._some_answer(which)
        may = answer.state is MessageState.UNKNOWN and not self._is_away(message_id)
        may = may and (action != "resend" or self._may_send(answer))
        result = self._do(Resolve(message_id, action, OPERATORS[0]))
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
        is_away = self._is_away(message_id)
        may = is_away or answer.state in waits
        assert isinstance(result, Refusal) is not may
        if may and not is_away:
            answer.deleted = True

    def _is_away(self, message_id: str) -> bool:
        answer = self.answers[message_id]
        return answer.deleted or (answer.is_named and f"of-{message_id}" in self.gone)

    def _may_send(self, answer: Answered) -> bool:
        return not self.blocked and (answer.is_template or not self.is_window_closed)
