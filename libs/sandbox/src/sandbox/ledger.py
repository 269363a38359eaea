"""The ledger: what really went over the wire, in order; the input of the fault checker."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Literal

MAX_ENTRIES = 100_000
"""Older entries fall out; `dropped` then says how many a reader can no longer see."""

MAX_TEXT_CHARS = 256
"""A text in the ledger is a label to compare, not an archive: longer ones are cut."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One webhook attempt, one update given up, or one API call.

    `status` is the HTTP status that was answered, None when the connection broke or the answer did not come.
    `accepted` of an API call: its message really appeared on the phone (or its edit, or its deletion); an
    album has an entry per message. What a Viber phone could not show after the API had taken it has an entry
    with the method `phone` and the reason. A download of a file is an API call with the method `file` and the
    path as text, accepted when all bytes were sent. `kind`: of the update, or of the message that appeared.
    An update taken by `getUpdates` is an entry of type webhook with that method, written when an offset
    confirms it. `update_id` of a callback of Viber is a number of ours: the same for each of its attempts.
    """

    seq: int
    at: float
    type: Literal["webhook", "webhook_dropped", "api"]
    channel_id: str | None
    client: str | None
    chat_id: int | str | None
    message_id: int | str | None
    text: str | None
    status: int | None
    error: str | None = None
    took_ms: float | None = None
    fault: str | None = None
    kind: str | None = None
    # webhook
    update_id: int | None = None
    attempt: int | None = None
    # api
    method: str | None = None
    accepted: bool | None = None


class Ledger:
    """Keeps the last `MAX_ENTRIES` entries."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._seq = 0

    @property
    def dropped(self) -> int:
        """How many of the oldest entries are no longer kept."""
        return self._seq - len(self._entries)

    def webhook(
        self,
        *,
        channel_id: str | None,
        client: str,
        chat_id: int | str,
        message_id: int | str | None,
        text: str | None,
        update_id: int,
        kind: str,
        attempt: int,
        status: int | None,
        error: str | None,
        took_ms: float,
        fault: str | None,
        method: str | None = None,
    ) -> None:
        """One attempt to deliver one update, written when its outcome is known."""
        self._append(
            Entry(
                self._next(),
                self._clock(),
                "webhook",
                channel_id,
                client,
                chat_id,
                message_id,
                _cut(text),
                status,
                error,
                round(took_ms, 2),
                fault,
                kind,
                update_id,
                attempt,
                method,
            )
        )

    def webhook_dropped(
        self,
        *,
        channel_id: str | None,
        client: str,
        chat_id: int | str,
        update_id: int,
        kind: str,
        reason: str,
    ) -> None:
        """An update that will never be delivered, and why."""
        self._append(
            Entry(
                self._next(),
                self._clock(),
                "webhook_dropped",
                channel_id,
                client,
                chat_id,
                None,
                None,
                None,
                reason,
                update_id=update_id,
                kind=kind,
            )
        )

    def api(
        self,
        *,
        channel_id: str | None,
        client: str | None,
        chat_id: int | str | None,
        message_id: int | str | None,
        text: str | None,
        kind: str | None = None,
        method: str,
        status: int | None,
        error: str | None,
        accepted: bool,
        fault: str | None,
    ) -> None:
        """One call of a messenger's API and whether it had its effect."""
        self._append(
            Entry(
                self._next(),
                self._clock(),
                "api",
                channel_id,
                client,
                chat_id,
                message_id,
                _cut(text),
                status,
                error,
                fault=fault,
                kind=kind,
                method=method,
                accepted=accepted,
            )
        )

    def after(self, seq: int, limit: int) -> list[dict[str, object]]:
        """Entries behind `seq`, oldest first, as plain JSON objects without their empty fields."""
        first_kept = self._seq - len(self._entries)
        start = max(0, seq - first_kept)
        return [_to_json(entry) for entry in islice(self._entries, start, start + limit)]

    def clear(self) -> None:
        """Forget the entries; the numbering goes on, so that no cursor ever points at something else."""
        self._entries.clear()

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def _next(self) -> int:
        self._seq += 1
        return self._seq

    def _append(self, entry: Entry) -> None:
        self._entries.append(entry)


def _cut(text: str | None) -> str | None:
    return text if text is None else text[:MAX_TEXT_CHARS]


_ALWAYS = frozenset({"status", "client", "channel_id"})


def _to_json(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in asdict(entry).items() if value is not None or name in _ALWAYS}
