"""Who looks at which dialogue: by user, without oneself, never older than it may be."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gateway.presence import Turn, Viewers
from msgkit.contracts.presence import VIEWING_TTL_S, ViewingNoticed
from msgkit.contracts.views import UserRef

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)


class _Room:
    """Viewers, and sockets that say one thing after the other."""

    def __init__(self) -> None:
        self.viewers = Viewers()
        self.seconds = 0.0

    def look(
        self, socket: str, conversation: str | None, *, user: str = "", tenant: str = "salon", late: float = 0
    ) -> list[str]:
        """The dialogues whose viewers changed."""
        self.seconds += 1
        user = user or socket.rstrip("0123456789")
        notice = ViewingNoticed(
            type="viewing.v1",
            tenant_id=tenant,
            channel_id=None if conversation is None else "telegram",
            conversation_id=conversation,
            user=UserRef(id=user, name=user.title()),
            socket_id=socket,
            at=START + timedelta(seconds=self.seconds - late),
        )
        return _ids(self.viewers.see(notice, self.seconds))

    def of(self, conversation: str, besides: str = "") -> list[str]:
        return [user.id for user in self.viewers.of("salon", conversation, besides)]


def _ids(turns: list[Turn]) -> list[str]:
    return [turn.conversation_id for turn in turns]


def test_a_viewer_moves_from_dialogue_to_dialogue() -> None:
    room = _Room()
    assert room.look("olena1", "a") == ["a"]
    assert room.look("olena1", "b") == ["a", "b"]
    assert (room.of("a"), room.of("b")) == ([], ["olena"])
    assert room.look("olena1", None) == ["b"]
    assert room.of("b") == []


def test_saying_it_again_changes_nothing() -> None:
    room = _Room()
    room.look("olena1", "a")
    assert room.look("olena1", "a") == []


def test_a_user_in_two_tabs_is_one_viewer() -> None:
    room = _Room()
    room.look("olena1", "a")
    assert room.look("olena2", "a") == []
    assert room.of("a") == ["olena"]
    assert room.look("olena1", "b") == ["b"]
    assert room.of("a") == ["olena"]
    assert room.look("olena2", None) == ["a"]


def test_nobody_is_a_colleague_of_themselves() -> None:
    room = _Room()
    room.look("olena1", "a")
    room.look("ivan1", "a")
    assert room.of("a", besides="olena") == ["ivan"]
    assert room.of("a", besides="ivan") == ["olena"]


def test_a_word_that_was_overtaken_counts_for_nothing() -> None:
    room = _Room()
    room.look("olena1", "a")
    assert room.look("olena1", None) == ["a"]
    assert room.look("olena1", "a", late=1.5) == []
    assert room.of("a") == []


def test_who_is_not_heard_of_is_gone() -> None:
    room = _Room()
    room.look("olena1", "a")
    room.look("ivan1", "a")
    assert _ids(room.viewers.sweep(VIEWING_TTL_S)) == []
    assert _ids(room.viewers.sweep(VIEWING_TTL_S + 1)) == ["a"]
    assert room.of("a") == ["ivan"]
    assert _ids(room.viewers.sweep(VIEWING_TTL_S + 2)) == ["a"]
    assert list(room.viewers.places("salon")) == []


def test_a_socket_belongs_to_one_tenant_for_ever() -> None:
    room = _Room()
    room.look("olena1", "a")
    assert room.look("olena1", "a", tenant="clinic") == []
    assert room.of("a") == ["olena"]
    assert list(room.viewers.places("salon")) == [("telegram", "a")]
    assert list(room.viewers.places("clinic")) == []
