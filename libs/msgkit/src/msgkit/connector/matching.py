"""Which contact a person is, as far as the known ids tell: pure, over the rows of `aliases`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from msgkit.connector.contract import PersonSeen

_JUST_BEFORE = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Held:
    """A contact who had an id once, and until when."""

    contact_key: str
    until: datetime


@dataclass(frozen=True, slots=True)
class Alias:
    """An id of a messenger and whose it is. Ids pass from one person to another: phone numbers do."""

    alias: str
    contact_key: str
    since: datetime
    """The messenger's time of the first proof that it is this contact's."""
    retired_at: datetime | None
    before: tuple[Held, ...] = ()
    """Who had it earlier, in order of time: a late word of then is still theirs."""
    rev: int = 0
    """Guards the write; 0: not stored yet."""

    def holder(self, at: datetime) -> str | None:
        """The contact whose id it was at that moment; None after it was given up."""
        for held in self.before:
            if at <= held.until:
                return held.contact_key
        if self.retired_at is None or at <= self.retired_at:
            return self.contact_key
        return None

    def passed_to(self, contact_key: str, at: datetime) -> Alias:
        """The same id as another one's from `at` on."""
        until = at - _JUST_BEFORE if self.retired_at is None else self.retired_at
        before = (*self.before, Held(self.contact_key, until))
        return replace(self, contact_key=contact_key, since=at, retired_at=None, before=before)


@dataclass(slots=True)
class Matched:
    """What was decided of the people of one webhook."""

    contacts: list[str | None] = field(default_factory=list)
    """The contact key of each person, in order; None: one that is only looked for, and nobody knows."""
    moved: list[str | None] = field(default_factory=list)
    """For each person another contact that turned out to be the same one, if there is one."""
    robbed: list[tuple[str, str]] = field(default_factory=list)
    """(contact key, id): contacts whose id is proved to be somebody else's now."""
    waves: dict[str, int] = field(default_factory=dict)
    """New ids and the round they are written in: what others may share comes first.

    Two replicas that see overlapping ids of one new person then meet at the same row, before either of them
    wrote anything else, and the loser looks again.
    """
    conflicts: int = 0
    """People whose ids are known as several contacts: the strongest id decided, nothing was merged."""


def match(
    people: Iterable[PersonSeen], rows: dict[str, Alias], ours: frozenset[str] = frozenset()
) -> Matched:
    """Decide who everybody is; `rows` become what must be stored.

    Args:
        people: in the order of the webhook.
        rows: what is known of all ids that are mentioned; changed in place.
        ours: ids this very call has stored before it lost a race: they prove nothing.
    """
    people = list(people)
    nobody: list[str | None] = [None] * len(people)
    matched = Matched(contacts=nobody, moved=list(nobody))
    for place, person in enumerate(people):
        if not person.is_known_only:
            matched.contacts[place], matched.moved[place] = _match_one(person, rows, ours, matched)
    # Last, so that a webhook which tells both comes out the same when it is repeated.
    for place, person in enumerate(people):
        if person.is_known_only:
            matched.contacts[place] = _first(rows, (*person.ids, *person.also), person.at, ours) or _own(
                rows, person.ids, ours
            )
    return matched


def _match_one(
    person: PersonSeen, rows: dict[str, Alias], ours: frozenset[str], matched: Matched
) -> tuple[str, str | None]:
    """The contact, and another one that turned out to be the same."""
    moved = _first(rows, person.retired, person.at, ours)
    known: list[str] = []
    for alias in person.ids:
        holder = _holder(rows, alias, person.at, ours)
        # A change of number proves that whoever had the new number before has it no longer. One who is known
        # by it only since the change is the same person, writing before the word of the change came to us.
        if holder is not None and (moved in (None, holder) or rows[alias].since >= person.at):
            known.append(holder)
    if moved is not None:
        known.append(moved)
    contact = (
        known[0] if known else _first(rows, person.also, person.at, ours) or _own(rows, person.ids, ours)
    )
    if contact is None:
        contact = _fresh_key(person.key, rows.get(person.key))
    if len(set(known)) > 1:
        matched.conflicts += 1
    _remember(person, contact, moved, rows, ours, matched)
    return contact, moved if moved != contact else None


def _remember(
    person: PersonSeen,
    contact: str,
    moved: str | None,
    rows: dict[str, Alias],
    ours: frozenset[str],
    matched: Matched,
) -> None:
    at = person.at
    for position, alias in enumerate(person.ids):
        row = rows.get(alias)
        if row is None:
            rows[alias] = Alias(alias, contact, at, None)
            matched.waves[alias] = len(person.ids) - 1 - position
            continue
        holder = row.holder(at)
        if alias in ours and row.contact_key != contact:
            rows[alias] = replace(row, contact_key=contact)
        elif holder is None or (
            moved is not None and holder not in (contact, moved) and _is_older(row, holder, at)
        ):
            rows[alias] = row.passed_to(contact, at)
        now = rows[alias]
        # Also on a repeat: the first time may have been cut short.
        if now.since == at and now.before and now.before[-1].contact_key not in (contact, moved):
            matched.robbed.append((now.before[-1].contact_key, alias))
    for alias in person.retired:
        row = rows.get(alias)
        if alias in person.ids:
            continue
        if row is None:
            rows[alias] = Alias(alias, contact, at, at)
            matched.waves[alias] = 0
        elif row.contact_key in (contact, moved) and row.retired_at is None and row.since <= at:
            rows[alias] = replace(row, retired_at=at)


def _is_older(row: Alias, holder: str, at: datetime) -> bool:
    """Whether this one has it now, and had it before the change."""
    return row.contact_key == holder and row.since < at


def _holder(rows: Mapping[str, Alias], alias: str, at: datetime, ours: frozenset[str]) -> str | None:
    row = rows.get(alias)
    return None if row is None or alias in ours else row.holder(at)


def _first(
    rows: Mapping[str, Alias], aliases: Iterable[str], at: datetime, ours: frozenset[str]
) -> str | None:
    holders = (_holder(rows, alias, at, ours) for alias in aliases)
    return next((holder for holder in holders if holder is not None), None)


def _own(rows: Mapping[str, Alias], aliases: Iterable[str], ours: frozenset[str]) -> str | None:
    """What this call has already called the person, if nobody else knows him."""
    return next((rows[alias].contact_key for alias in aliases if alias in ours and alias in rows), None)


def _fresh_key(key: str, row: Alias | None) -> str:
    """The key of a new contact: the id itself, unless somebody before him had it."""
    return key if row is None else f"{key}~{len(row.before) + 2}"
