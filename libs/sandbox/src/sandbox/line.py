"""What the control API and the load generator ask of a messenger, whatever messenger it is."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol

from sandbox.delivery import Watcher
from sandbox.problems import Refused
from sandbox.uploads import Arrived

Json = dict[str, object]


class Line(Protocol):
    """One bot of one messenger, with the phones of its clients; `client` is a short id of ours."""

    @property
    def summary(self) -> Json | None:
        """How `GET /control/channels` shows it; None while it serves nobody."""

    def webhook(self) -> Json:
        """Where its updates go, and what a test needs to sign one. Raises: Refused."""

    def revoke_token(self) -> str:
        """A new token in the place of the old one."""

    def clients(self) -> list[Json]:
        """Everybody who has met the bot."""

    def messages(self, client: str) -> list[Json]:
        """Everything the client's phone shows; looking makes nobody."""

    def presses(self, client: str) -> list[Json]:
        """The presses on buttons under messages, with their answers."""

    def phone(self, client: str) -> Json:
        """The whole phone."""

    def watchers(self, client: str) -> set[asyncio.Event]:
        """Events to set at each change of this phone."""

    def typing_seconds(self, client: str) -> float:
        """So long the phone will still show «друкує…»."""

    async def post(self, client: str, raw: bytes | str, arrived: Sequence[Arrived]) -> Json:
        """The client writes. Raises: Problem."""

    async def act(self, client: str, action: str, raw: bytes) -> Json:
        """The client does something else. Raises: Problem."""

    def say(self, client: str, text: str, watcher: Watcher) -> bool:
        """The client writes a text of a burst; whether it went on its way."""

    def reset(self) -> None:
        """Forget dialogues and what waits to be delivered."""


class Messenger(Protocol):
    """One messenger with all its bots."""

    @property
    def kind(self) -> str:
        """As in the address of its webhooks."""

    def lines(self) -> Sequence[Line]:
        """All bots."""

    def line(self, channel_id: str) -> Line | None:
        """The bot that serves this channel."""


def is_on_its_way(write: Callable[[], Json]) -> bool:
    """Whether a text of a burst was written and its webhook goes out."""
    try:
        receipt = write()
    except Refused:
        return False
    return receipt["update_id"] is not None
