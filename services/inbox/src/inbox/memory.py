"""Conversations in memory, each at a version, and how one that is not there is read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from inbox.domain import Message, State
from inbox.projections import Key
from inbox.relay import Step, advance, start_of
from inbox.store import Store
from msgkit.contracts.values import dataclass

CACHED: Final = 3_000
"""Conversations kept in memory; each with KEPT_MESSAGES it takes about 10 KB."""
KEPT_MESSAGES: Final = 4
"""Messages kept in hand of a conversation at rest: a report is mostly about the last ones."""
HAND_LIMIT: Final = 200
"""With more messages in hand a conversation is read anew rather than trimmed."""
NEWER_LIMIT: Final = 50
"""With more commits to catch up with, reading the projection is cheaper."""
RACES: Final = 20
"""How often a race for a version may be lost before the store counts as not well."""


@dataclass(slots=True)
class _Cached:
    """A conversation in memory; `projected_v` is never more than what is really projected."""

    state: State
    projected_v: int


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A conversation and its messages that are newer than the projection."""

    state: State | None
    newer: Mapping[str, Message]


class Memory:
    """What one process knows of conversations. Others go on meanwhile: a version may be old, never wrong."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._cache: OrderedDict[Key, _Cached] = OrderedDict()

    def __contains__(self, key: Key) -> bool:
        return key in self._cache

    def get(self, key: Key) -> State | None:
        """The conversation as it is in memory, without a look at the log."""
        cached = self._cache.get(key)
        return None if cached is None else cached.state

    def forget(self, key: Key) -> None:
        self._cache.pop(key, None)

    async def dialogue(self, key: Key) -> Dialogue:
        """What a page of messages needs beside the projection: everything newer than it."""
        states = await self._store.projections.states([key])
        marks = {key: states[key].v if key in states else 0}
        commits = await self._store.commits_after(marks)
        if not commits:
            return Dialogue(states.get(key), {})
        start = {key: states.get(key) or start_of(commits[key][0])}
        steps = (await advance(self._store, start, commits))[key]
        last = steps[-1].state
        ids = {id_ for step in steps for id_ in step.created | step.changed}
        return Dialogue(last, {id_: last.messages[id_] for id_ in ids})

    async def caught_up(self, key: Key) -> State | None:
        """The cached conversation with what others appended meanwhile; None if reading it is cheaper."""
        cached = self._cache.get(key)
        if cached is None:
            return None
        before = cached.state
        newer = await self._store.commits_after({key: before.v}, NEWER_LIMIT)
        if not newer:
            return before
        if len(newer[key]) == NEWER_LIMIT:
            self._cache.pop(key, None)
            return None
        state = (await advance(self._store, {key: before}, newer))[key][-1].state
        self.remember(key, state)
        return state

    async def load(self, keys: Collection[Key]) -> dict[Key, State]:
        """Read conversations into the cache: the projection and what is newer."""
        if not keys:
            return {}
        states = await self._store.projections.states(keys)
        commits = await self._store.commits_after(
            {key: states[key].v if key in states else 0 for key in keys}
        )
        starts = {key: states.get(key) or start_of(todo[0]) for key, todo in commits.items()}
        steps = await advance(self._store, starts, commits)
        loaded = {**states, **{key: todo[-1].state for key, todo in steps.items()}}
        for key, state in loaded.items():
            cached = self._cache.get(key)
            if cached is None or cached.state.v < state.v:  # others may have gone on while we read
                self._put(key, _Cached(state, states[key].v if key in states else 0))
        return loaded

    def remember(self, key: Key, state: State) -> None:
        """Keep the newer one: others of this process may have gone on meanwhile."""
        cached = self._cache.get(key)
        if cached is None:
            if state.v == 1:
                self._put(key, _Cached(state, 0))
            return
        if state.v <= cached.state.v:
            return
        if len(state.messages) > HAND_LIMIT:
            self._cache.pop(key)  # what is in hand may not be projected yet, so it cannot be trimmed
            return
        cached.state = state
        self._cache.move_to_end(key)

    def relayable(self, key: Key, steps: Sequence[Step]) -> Sequence[Step]:
        """The steps, if nothing lies between the projection and them; else none: the log must be read."""
        cached = self._cache.get(key)
        if not steps or cached is None or steps[0].commit.v != cached.projected_v + 1:
            return ()
        return steps

    def note_projected(self, projected: Mapping[Key, State]) -> None:
        for key, state in projected.items():
            cached = self._cache.get(key)
            if cached is None:
                continue
            cached.projected_v = max(cached.projected_v, state.v)
            if state.v > cached.state.v:
                cached.state = state
            cached.state = cached.state.keeping(KEPT_MESSAGES, changed_after=cached.projected_v)

    def _put(self, key: Key, cached: _Cached) -> None:
        self._cache[key] = cached
        self._cache.move_to_end(key)
        while len(self._cache) > CACHED:
            self._cache.popitem(last=False)
