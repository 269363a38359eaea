"""`rozmova rebuild`: folds the log of every conversation again and compares it with the projections."""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from pydantic import ValidationError
from pydantic_core import to_json
from pydantic_settings import SettingsError

from inbox.documents import message_document, state_document
from inbox.domain import Message, State
from inbox.projections import Key
from inbox.relay import advance, start_of
from inbox.settings import StoreSettings
from inbox.store import STORE_TROUBLE, Store
from msgkit.runtime.logs import configure_logs
from msgkit.runtime.mongo import Document, Mongo
from msgkit.runtime.settings import explain_settings_fault

LIVE_TRIES: Final = 4
"""A running inbox projects a moment after it appends: a difference counts only if it stays."""
LIVE_PAUSE_S: Final = 0.5
BATCH_COMMITS: Final = 500


@dataclass(frozen=True, slots=True)
class Difference:
    """A conversation whose projection is not what its log says."""

    key: Key
    what: str


@dataclass(frozen=True, slots=True)
class Verdict:
    conversations: int
    messages: int
    differences: tuple[Difference, ...]


async def rebuild(store: Store, *, repair: bool, pause_s: float = LIVE_PAUSE_S) -> Verdict:
    """Compare every conversation with its log; with `repair` write what the log says.

    Repair only while no inbox runs: it does not wait for one that projects at the same moment.
    """
    conversations, messages = 0, 0
    differences: list[Difference] = []
    async for key in store.conversation_keys():
        conversations += 1
        state, folded = await _fold(store, key)
        what = await _compare(store, key, state, folded)
        for _ in range(LIVE_TRIES - 1):
            if what is None:
                break
            await asyncio.sleep(pause_s)
            state, folded = await _fold(store, key)
            what = await _compare(store, key, state, folded)
        messages += len(folded)
        if what is not None:
            differences.append(Difference(key, what))
            if repair:
                await store.projections.replace(state, list(folded.values()))
    differences += [
        Difference(key, "projected, but without a log") for key in await store.projections.without_log()
    ]
    return Verdict(conversations, messages, tuple(differences))


async def _fold(store: Store, key: Key) -> tuple[State, dict[str, Message]]:
    """The conversation and all its messages from the log alone."""
    messages: dict[str, Message] = {}
    state: State | None = None
    while True:
        after = 0 if state is None else state.v
        commits = (await store.commits_after({key: after}, BATCH_COMMITS)).get(key, [])
        if not commits:
            break
        before = (state or start_of(commits[0])).with_messages(messages.values())
        steps = await advance(store, {key: before}, {key: commits})
        state = steps[key][-1].state
        messages.update(state.messages)
    assert state is not None
    return state, messages


async def _compare(store: Store, key: Key, state: State, folded: dict[str, Message]) -> str | None:
    conversation, stored = await store.projections.documents(key)
    if conversation is None:
        return f"not projected; the log is at v {state.v}"
    if conversation["v"] != state.v:
        return f"projected to v {conversation['v']}; the log is at v {state.v}"
    wanted = state_document(state)
    if _hash(wanted) != _hash(conversation):
        names = sorted(name for name in wanted if _hash(wanted[name]) != _hash(conversation.get(name)))
        return f"the conversation differs in {', '.join(names) or 'unknown fields'}"
    by_id = {document["_id"]: document for document in stored}
    missing = folded.keys() - by_id.keys()
    surplus = by_id.keys() - folded.keys()
    if missing or surplus:
        return f"{len(missing)} messages missing, {len(surplus)} too many"
    different = [id_ for id_ in folded if _hash(message_document(folded[id_])) != _hash(by_id[id_])]
    if different:
        return f"{len(different)} messages differ, the first is {sorted(different)[0]}"
    return None


def _hash(value: Document | object) -> str:
    # Sorted, because a store may keep the fields of a document in another order.
    return hashlib.sha256(to_json(_sorted(value))).hexdigest()


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    if isinstance(value, list | tuple):
        return [_sorted(item) for item in value]
    return value


def report(verdict: Verdict, *, repaired: bool) -> str:
    """The verdict as a table."""
    lines = [
        f"{'conversations':>14} {'messages':>10} {'differences':>12}",
        f"{verdict.conversations:>14} {verdict.messages:>10} {len(verdict.differences):>12}",
    ]
    if verdict.differences:
        lines.append(f"{'tenant':<16} {'conversation':<34} difference")
        lines += [
            f"{one.key.tenant_id:<16} {one.key.conversation_id:<34} {one.what}" for one in verdict.differences
        ]
        if repaired:
            lines.append(
                "Repaired from the log. Run `rozmova rebuild` once more to see that nothing is left."
            )
        else:
            lines.append("Stop inbox and run `rozmova rebuild --repair` to write what the log says.")
    return "\n".join(lines)


async def _run(settings: StoreSettings, *, repair: bool) -> Verdict:
    mongo = Mongo(settings.mongo_url.get_secret_value(), f"{settings.mongo_prefix}inbox")
    try:
        return await rebuild(Store(mongo.database, mongo.loose_database), repair=repair)
    finally:
        mongo.close()


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the command `rozmova`. Exit codes: 0 equal, 1 differences, 2 settings, 3 no MongoDB."""
    parser = argparse.ArgumentParser(prog="rozmova", description="Looks after the data of inbox.")
    commands = parser.add_subparsers(dest="command", required=True)
    again = commands.add_parser("rebuild", help="fold the log again and compare it with the projections")
    again.add_argument("--repair", action="store_true", help="write what the log says where they differ")
    options = parser.parse_args(arguments)
    try:
        settings = StoreSettings()
    except (ValidationError, SettingsError) as exc:
        sys.stderr.write(explain_settings_fault(exc) + "\n")
        return 2
    configure_logs("rozmova", "WARNING")
    try:
        verdict = asyncio.run(_run(settings, repair=options.repair))
    except STORE_TROUBLE as exc:
        sys.stderr.write(
            f"MongoDB does not answer ({type(exc).__name__}). Is it running? `make status` tells.\n"
        )
        return 3
    sys.stdout.write(report(verdict, repaired=options.repair) + "\n")
    return 1 if verdict.differences else 0


if __name__ == "__main__":
    sys.exit(main())
