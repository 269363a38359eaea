"""Who has a chat and where it stands: every command in every situation, and the line it leaves."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from inbox_talk import IVAN, OLENA, Talk, came, reply, reported

from inbox.domain import (
    Assign,
    Author,
    Claim,
    Command,
    Door,
    PostReply,
    Refusal,
    Release,
    ReturnToBot,
    SetStatus,
    TakeOver,
)
from msgkit.contracts.words import AuthorKind, Box, Direction, Handler, MessageState, Status

BOTS = PostReply(author=Author(AuthorKind.BOT, "bot", "Бот"), client_msg_id="bot-0001", text="Меню")


def situation(name: str) -> Talk:
    """A chat with one message of the client: `free`, `olenas`, `ivans`, `bots`, `waiting`, `closed`."""
    talk = Talk(Door(bot_enabled=name == "bots"))
    talk.does(came("1"))
    before: dict[str, tuple[Command, ...]] = {
        "free": (),
        "olenas": (Claim(OLENA),),
        "ivans": (Claim(IVAN),),
        "bots": (BOTS,),
        "waiting": (Claim(OLENA), SetStatus(Status.WAITING, OLENA)),
        "closed": (SetStatus(Status.CLOSED, OLENA),),
    }
    for command in before[name]:
        assert not isinstance(talk.does(command), Refusal)
    return talk


@dataclass(frozen=True)
class Case:
    """What Olena does; `line` None: nothing changes, `code`: she may not."""

    chat: str
    does: Command
    line: str | None = None
    code: str | None = None

    @property
    def name(self) -> str:
        return f"{type(self.does).__name__} {getattr(self.does, 'status', '')} on {self.chat}"


CASES = [
    Case("free", Claim(OLENA), "Чат взято в роботу: Олена"),
    Case("olenas", Claim(OLENA)),
    Case("ivans", Claim(OLENA), code="claimed_by_other"),
    Case("bots", Claim(OLENA), "Замість бота відповідає Олена"),
    Case("waiting", Claim(OLENA)),
    Case("closed", Claim(OLENA), code="conversation_closed"),
    Case("free", TakeOver(OLENA), code="not_with_bot"),
    Case("olenas", TakeOver(OLENA)),
    Case("ivans", TakeOver(OLENA), code="claimed_by_other"),
    Case("bots", TakeOver(OLENA), "Замість бота відповідає Олена"),
    Case("closed", TakeOver(OLENA), code="conversation_closed"),
    Case("free", Assign(IVAN, OLENA), "Чат передано: Олена → Іван"),
    Case("free", Assign(OLENA, OLENA), "Чат взято в роботу: Олена"),
    Case("olenas", Assign(IVAN, OLENA), "Чат передано: Олена → Іван"),
    Case("ivans", Assign(IVAN, OLENA)),
    Case("ivans", Assign(OLENA, OLENA), "Чат взято в роботу: Олена"),
    Case("bots", Assign(IVAN, OLENA), "Чат передано: Олена → Іван"),
    Case("waiting", Assign(IVAN, OLENA), "Чат передано: Олена → Іван"),
    Case("closed", Assign(IVAN, OLENA), code="conversation_closed"),
    Case("free", Release(OLENA)),
    Case("olenas", Release(OLENA), "Чат більше ні за ким не закріплено: Олена"),
    Case("ivans", Release(OLENA), "Чат більше ні за ким не закріплено: Олена"),
    Case("bots", Release(OLENA)),
    Case("closed", Release(OLENA), code="conversation_closed"),
    Case("free", ReturnToBot(OLENA), code="bot_disabled"),
    Case("bots", ReturnToBot(OLENA)),
    Case("closed", ReturnToBot(OLENA), code="conversation_closed"),
    Case("free", SetStatus(Status.WAITING, OLENA), "Чат в очікуванні: Олена"),
    Case("bots", SetStatus(Status.WAITING, OLENA), code="with_bot"),
    Case("closed", SetStatus(Status.WAITING, OLENA), code="conversation_closed"),
    Case("waiting", SetStatus(Status.WAITING, OLENA)),
    Case("free", SetStatus(Status.CLOSED, OLENA), "Чат завершено: Олена"),
    Case("bots", SetStatus(Status.CLOSED, OLENA), "Чат завершено: Олена"),
    Case("waiting", SetStatus(Status.CLOSED, OLENA), "Чат завершено: Олена"),
    Case("closed", SetStatus(Status.CLOSED, OLENA)),
    Case("closed", SetStatus(Status.OPEN, OLENA), "Чат знову відкрито: Олена"),
    Case("waiting", SetStatus(Status.OPEN, OLENA), "Чат знову відкрито: Олена"),
    Case("free", SetStatus(Status.OPEN, OLENA)),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_what_a_command_does_to_a_chat(case: Case) -> None:
    talk = situation(case.chat)
    before, last = talk.state, talk.state.last_message
    decision = talk.does(case.does)
    if case.code is not None:
        assert isinstance(decision, Refusal)
        assert (decision.status, decision.code) == (409, case.code)
    elif case.line is None:
        assert decision == ()
    else:
        lines = [m for m in talk.dialogue if m.n > before.n]
        assert [(m.direction, m.body.text) for m in lines] == [(Direction.SYSTEM, case.line)]
        assert (talk.state.last_message, talk.state.activity_at) == (last, before.activity_at)
        again = talk.does(case.does)
        assert again == () or isinstance(again, Refusal)


def test_who_has_a_chat_since_when() -> None:
    talk = situation("free")
    talk.does(Assign(IVAN, OLENA))
    given_at = talk.now
    assert (talk.state.assignee, talk.state.assigned_at) == (IVAN, given_at)
    refusal = talk.refused(Claim(OLENA))
    assert (refusal.holder, refusal.since) == (IVAN, given_at)
    talk.does(Release(OLENA))
    assert (talk.state.assignee, talk.state.assigned_at) == (None, None)
    talk.does(reply())
    assert (talk.state.assignee, talk.state.assigned_at) == (OLENA, talk.now)
    talk.does(SetStatus(Status.CLOSED, OLENA))
    talk.does(came("2"))
    assert (talk.state.assignee, talk.state.assigned_at) == (None, None)


@pytest.mark.parametrize("command", [TakeOver(OLENA), Claim(OLENA), Assign(OLENA, IVAN)], ids=str)
def test_a_bot_that_is_taken_over_says_nothing_more(command: Command) -> None:
    talk = situation("bots")
    bots = talk.answer_id
    decision = talk.does(command)
    assert isinstance(decision, tuple)
    assert getattr(decision[0], "cancelled", None) == (bots,)
    state = talk.state
    assert (state.handler, state.assignee, state.bot_queued) == (Handler.OPERATOR, OLENA, ())


def test_a_chat_goes_back_to_the_bot_and_counts_for_nobody() -> None:
    talk = situation("bots")
    talk.does(TakeOver(OLENA))
    talk.does(came("2"))
    assert talk.state.is_unanswered
    talk.does(ReturnToBot(OLENA))
    state = talk.state
    assert (state.handler, state.assignee, state.box) == (Handler.BOT, None, Box.BOT)
    assert not state.is_unanswered
    assert talk.dialogue[-1].body.text == "Чат повернуто боту: Олена"


def test_a_waiting_chat_goes_back_to_the_bot_open() -> None:
    talk = situation("bots")
    talk.does(TakeOver(OLENA))
    talk.does(SetStatus(Status.WAITING, OLENA))
    talk.does(ReturnToBot(OLENA))
    assert talk.state.box is Box.BOT


def test_a_reopened_chat_goes_on_with_its_request() -> None:
    talk = situation("free")
    request = talk.state.request
    talk.does(SetStatus(Status.CLOSED, OLENA))
    talk.does(SetStatus(Status.OPEN, OLENA))
    assert (talk.state.request, talk.state.box) == (request, Box.NEW)
    talk.does(came("2"))
    assert talk.state.request == request


def test_lines_about_the_chat_are_no_news_of_the_row() -> None:
    talk = situation("free")
    talk.does(reply())
    talk.does(reported(talk.answer_id, MessageState.SENT))
    talk.does(Assign(IVAN, OLENA))
    last = talk.state.last_message
    assert last is not None
    assert (last.text, last.state, last.author.name) == ("Вітаю", MessageState.SENT, "Олена")
    assert talk.state.n == 3


@pytest.mark.parametrize(
    "command",
    [Claim(OLENA), TakeOver(OLENA), Assign(IVAN, OLENA), Release(OLENA), ReturnToBot(OLENA)],
    ids=lambda command: type(command).__name__,
)
def test_nobody_handles_what_is_not_there(command: Command) -> None:
    assert Talk().refused(command).status == 404
