"""The state machine of a conversation against a simple model of what people would expect."""

from __future__ import annotations

from datetime import datetime, timedelta

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import Bundle, invariant, precondition, rule
from inbox_dialogue_rules import Dialogue
from inbox_model import (
    CONTACT,
    CONVERSATION,
    OPERATORS,
    START,
    WORDS,
    Once,
    Signing,
    delivery,
    photo_content,
    posted,
    words_content,
)

from inbox.domain import (
    AnswerOrdered,
    AnswerReordered,
    Body,
    Refusal,
    message_view,
    reply_message_id,
    unread,
)
from msgkit.contracts.events import (
    ContactChanged,
    Content,
    MessageDeleted,
    MessageRecalled,
    ReactionChanged,
)
from msgkit.contracts.ids import inbound_message_id
from msgkit.contracts.words import STATE_RANK, AuthorKind, Direction, MessageKind, MessageState


class Conversation(Dialogue):
    """What happens to what was said, and what must hold."""

    # ------------------------------------------------------------ what must hold

    everything = st.one_of(Dialogue.provider_ids, Dialogue.photo_ids)
    recalled_ids: Bundle[str] = Bundle("recalled_ids")

    # ------------------------------------------------------------ taken back

    @rule(provider_id=everything)
    def take_back(self, provider_id: str) -> None:
        self._take_back(provider_id)

    @rule(told=Dialogue.echo_ids)
    def take_back_what_was_typed_elsewhere(self, told: tuple[str, str]) -> None:
        if told[0] in {one.provider_id for one in (*self.shown, *self.parked)}:
            self._take_back(told[0])

    @rule(target=Dialogue.provider_ids, words=WORDS)
    def take_back_before_it_comes(self, words: str) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        self._take_back(provider_id)
        self._receive(provider_id, words)
        return provider_id

    @precondition(lambda self: self.answers)
    @rule(which=st.integers(0, 50))
    def take_back_an_answer(self, which: int) -> None:
        message_id, _ = self._some_answer(which)
        self._take_back(f"of-{message_id}")

    def _take_back(self, provider_id: str) -> None:
        event = MessageDeleted(
            **self._inbound(), type="message.deleted.v1", provider_id=provider_id, deleted_at=self.now
        )
        assert bool(self._do(event)) is (provider_id not in self.gone)
        self.gone.add(provider_id)

    # ------------------------------------------------------------ reactions

    @rule(
        provider_id=everything,
        emoji=st.sampled_from(["👍", "❤", None]),
        is_ours=st.booleans(),
        seconds_ago=st.integers(0, 3),
    )
    def react(self, provider_id: str, emoji: str | None, is_ours: bool, seconds_ago: int) -> None:
        at = self.now - timedelta(seconds=seconds_ago)
        event = ReactionChanged(
            **self._inbound(),
            type="message.reacted.v1",
            provider_id=provider_id,
            author_kind=AuthorKind.OPERATOR if is_ours else AuthorKind.CLIENT,
            emoji=emoji,
            reacted_at=at,
        )
        known = self.signs.get(provider_id, {}).get(is_ours)
        is_news = emoji is not None if known is None else emoji != known[1] and at >= known[0]
        is_news = is_news and provider_id not in self.gone
        assert bool(self._do(event)) is is_news
        if is_news:
            self._sign(provider_id, is_ours, at, emoji)

    def _sign(self, provider_id: str, is_ours: bool, at: datetime, emoji: str | None) -> None:
        signs = self.signs.setdefault(provider_id, {})
        if provider_id not in self.gone and (is_ours not in signs or signs[is_ours][0] <= at):
            signs[is_ours] = at, emoji

    @rule(provider_id=everything, emoji=st.sampled_from(["👍", "❤"]), who=st.integers(0, 1))
    def order_a_reaction(self, provider_id: str, emoji: str, who: int) -> None:
        self.counter += 1
        key = f"sign-{self.counter:06}"
        may = not self.blocked and not self.is_window_closed and provider_id not in self.gone
        target = inbound_message_id(CONVERSATION, provider_id)
        result = self._do(posted(who, emoji, key, is_reaction=True, reply_to=target, seen_n=0))
        assert isinstance(result, Refusal) is not may
        if may:
            self.count += 1
            message_id = reply_message_id(CONVERSATION, OPERATORS[who].id, key)
            self.signings[message_id] = Signing(provider_id, emoji, self.now)

    @precondition(lambda self: self.signings)
    @rule(which=st.integers(0, 50), state=st.sampled_from(list(MessageState)[1:]), late=st.booleans())
    def report_a_reaction(self, which: int, state: MessageState, late: bool) -> None:
        message_id = sorted(self.signings)[which % len(self.signings)]
        signing = self.signings[message_id]
        late = late and state is MessageState.FAILED
        rank = 4.5 if late else STATE_RANK[state]
        is_repeat = f"status:{message_id}:{rank}" in self.taken
        assert not isinstance(self._do(delivery(message_id, state, self.now, late)), Refusal)
        is_undone = state is MessageState.SENT and signing.is_refused
        if is_repeat:
            return
        rises = rank > signing.rank and not is_undone
        signing.is_refused = signing.is_refused or late
        if not rises:
            return
        was_out, signing.state = signing.is_out, state
        if was_out is not signing.is_out:
            self._sign(signing.target, True, signing.at, signing.emoji if signing.is_out else None)

    # ------------------------------------------------------------ the history

    @rule(target=recalled_ids, words=WORDS, days_ago=st.integers(1, 90), is_out=st.booleans())
    def recall(self, words: str, days_ago: int, is_out: bool) -> str:
        self.counter += 1
        provider_id = str(self.counter)
        at = START - timedelta(days=days_ago)
        assert self._do(self._recalled(provider_id, words_content(words), at, is_out))
        if self.requests == 0 and (self.count == 0 or self.status == "closed"):
            self.status = "closed"
        self.count += 1
        self.history[provider_id] = Once(words, at)
        return provider_id

    def _recalled(self, provider_id: str, content: Content, at: datetime, is_out: bool) -> MessageRecalled:
        return MessageRecalled(
            **self._inbound(),
            type="message.recalled.v1",
            provider_id=provider_id,
            provider_seq=1,
            sent_at=at,
            direction=Direction.OUT if is_out else Direction.IN,
            content=content,
            state=MessageState.READ,
        )

    @rule(provider_id=st.one_of(recalled_ids, everything), words=WORDS, is_out=st.booleans())
    def recall_again(self, provider_id: str, words: str, is_out: bool) -> None:
        again = self._recalled(provider_id, words_content(words), START - timedelta(days=1), is_out)
        assert self._do(again) == ()

    @rule(provider_id=recalled_ids, words=WORDS)
    def recall_its_files(self, provider_id: str, words: str) -> None:
        once = self.history.get(provider_id)
        again = self._recalled(provider_id, photo_content(words), START - timedelta(days=1), False)
        is_news = once is not None and not once.is_photo
        assert bool(self._do(again)) is is_news
        if once is not None and is_news:
            once.text, once.is_photo = words, True

    @rule(provider_id=recalled_ids, words=WORDS)
    def receive_what_was_recalled(self, provider_id: str, words: str) -> None:
        """A message of the minute in which the account was connected: news after all."""
        if self.history.pop(provider_id, None) is not None:
            self._receive(provider_id, words)
            self.vanished += 1

    @rule(number=st.integers(1, 9))
    def change_the_number(self, number: int) -> None:
        event = ContactChanged(
            **self._inbound() | {"contact": CONTACT.model_copy(update={"phone": f"+38050000000{number}"})},
            type="contact.changed.v1",
            previous_phone=None,
            is_new_number=True,
            happened_at=self.now,
        )
        assert bool(self._do(event)) is (self.count > 0)
        self.count += self.count > 0

    @invariant()
    def what_was_said_before_is_as_it_became(self) -> None:
        for provider_id, once in self.history.items():
            message = self.store[inbound_message_id(CONVERSATION, provider_id)]
            assert (message.body.text, message.pos_at) == (once.text, once.at)
            assert bool(message.body.attachments) is once.is_photo
        for provider_id, signs in self.signs.items():
            message = self.store[inbound_message_id(CONVERSATION, provider_id)]
            wanted = [signs[side][1] for side in (False, True) if side in signs]
            if provider_id in self.gone:
                wanted = []
            assert message_view(message)["reactions"] == [emoji for emoji in wanted if emoji is not None]
        for message_id, signing in self.signings.items():
            message = self.store[message_id]
            assert (message.state, message.replaced_by is not None) == (signing.state, signing.is_out)

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
            if provider_id in self.gone:
                assert (message.body.text, message.versions, message_view(message)["deleted"]) == (
                    "",
                    (),
                    True,
                )
                continue
            assert message.body.text == (said.told[-1][2] if said.told else said.text)
            assert len(message.versions) == len(said.told)
        for message_id, answer in self.answers.items():
            message = self.store[message_id]
            is_taken_back = answer.is_named and f"of-{message_id}" in self.gone
            words = "" if is_taken_back else answer.text
            assert (message.state, message.body.text, message.n) == (answer.state, words, answer.n)
            is_away = answer.deleted or is_taken_back
            assert (message.attempt, message_view(message)["deleted"]) == (answer.attempt, is_away)
        for provider_id, photo in self.photos.items():
            body = self._body_of(provider_id)
            if self._is_gone(provider_id):
                assert body == Body(MessageKind.IMAGE, "")
            elif body is not None:
                assert body.text == photo.caption
                assert [file.state for file in body.attachments] == [photo.state]
        assert [one.provider_id for one in state.parked_echoes] == [one.provider_id for one in self.parked]
        for echo in self.shown:
            message = self.store[inbound_message_id(CONVERSATION, echo.provider_id)]
            words = "" if echo.provider_id in self.gone else echo.text
            assert (message.body.text, message.author.kind, message.state) == (words, echo.kind, "sent")
            assert message.direction is Direction.OUT
        for provider_id, ordered in self.replaced.items():
            assert self.store[inbound_message_id(CONVERSATION, provider_id)].replaced_by == ordered
        gone = [message.id for message in self.store.values() if message.replaced_by is not None]
        assert len(gone) == len(self.replaced) + sum(one.is_out for one in self.signings.values())
        assert state.last_message is None or state.last_message.id not in gone
        box = None
        if self.count:
            answered = "active" if self.first_reply else "new"
            box = {"closed": "done", "waiting": "waiting"}.get(
                self.status, "bot" if self.handler == "bot" else answered
            )
        assert state.box == box

    @invariant()
    def numbers_have_no_gap(self) -> None:
        numbers = {message.n for message in self.store.values()}
        assert len(numbers) == len(self.store) == self.count - self.vanished
        assert numbers <= set(range(1, self.count + 1))
        dialogue = sorted(self.store.values(), key=lambda message: (message.pos_at, message.n))
        live = [message for message in dialogue if not message.is_recalled and not message.is_reaction]
        ours = [message.n for message in live if message.direction is Direction.OUT]
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


Conversation.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestConversation = Conversation.TestCase
