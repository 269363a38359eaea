"""Who is who at a messenger whose ids change: ids seen together are one contact, found again by any of them.

The first id seen stays the contact's key, so a person who gets another number stays in one conversation. What
is decided here is durable before an event of the person is published: decided anew after a crash it could
come out otherwise, and one person would have two conversations.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from msgkit.connector.contract import Account, Parsed, PersonSeen
from msgkit.connector.errors import RecipientUnreachable
from msgkit.connector.matching import Alias, Held, Matched, match
from msgkit.connector.reach import store_reached
from msgkit.contracts.events import (
    ContactAvailability,
    ContactChanged,
    InboundEvent,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageRecalled,
    MessageReceived,
    ReactionChanged,
)
from msgkit.contracts.ids import conversation_id
from msgkit.runtime import metrics
from msgkit.runtime.clock import Clock, utc_now
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import (
    BulkWriteError,
    Database,
    Document,
    StoreUnavailable,
    UpdateOne,
    keep_index,
    loosely,
)

log = get_logger(__name__)

SETTLE_SECONDS = 4.0
"""The messenger waits for our 200 meanwhile."""
ROUNDS = 6
"""How often we look again after another replica was faster."""
FORGOTTEN_AT_ONCE = 1_000
_IDS_AT_ONCE = 2_000
_DUPLICATE_KEY = 11000
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_GONE = "Цей номер тепер належить іншій людині. Зачекайте, поки клієнт напише вам знову."

_OfContact = (
    MessageReceived
    | MessageEdited
    | MessageDeleted
    | MessageEchoed
    | MessageRecalled
    | ReactionChanged
    | ContactChanged
    | ContactAvailability
)


@dataclass(frozen=True, slots=True)
class ReachedContact:
    """How a contact is reached now."""

    channel_id: str
    contact_key: str
    address: str
    last_inbound_provider_id: str | None


class People:
    """The collections `aliases` and `contacts` of one ingest service."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._aliases = database["aliases"]
        self._contacts = database["contacts"]
        self._clock = clock

    async def prepare(self) -> None:
        """Make the indexes.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("aliases"):
            await keep_index(self._aliases, [("channel_id", 1), ("alias", 1)], unique=True)
            await keep_index(self._contacts, "channel_id")

    async def settle(self, account: Account, parsed: Parsed) -> Parsed:
        """Decide which contacts these people are; returns the same with the events in their conversations.

        Settling the same again has no further effect and comes out the same. Events about people who are only
        looked for and whom nobody knows are left out, and counted as `nobody_known`.

        Raises:
            StoreUnavailable: not confirmed; nothing may be published, the messenger must repeat.
        """
        if not parsed.people:
            return parsed
        people = [replace(person, at=_exact(person.at)) for person in parsed.people]
        try:
            async with asyncio.timeout(SETTLE_SECONDS):
                matched, has_news = await self._match(account.channel_id, people)
                events = _rewritten(account.channel_id, people, matched.contacts, parsed.events)
                await self._keep_contacts(account.channel_id, people, matched, events, is_durable=has_news)
        except TimeoutError as exc:
            raise StoreUnavailable(f"people: not confirmed within {SETTLE_SECONDS:g} s") from exc
        if matched.conflicts:
            metrics.people_conflicts_total.labels(kind=account.kind).inc(matched.conflicts)
            log.info("people_conflict", channel_id=account.channel_id, people=matched.conflicts)
        dropped = len(parsed.events) - len(events)
        return replace(parsed, events=events, counted=(*parsed.counted, *["nobody_known"] * dropped))

    async def address_of(self, channel_id: str, contact_key: str) -> str | None:
        """The id by which the messenger reaches this contact now; None: nobody like that was ever seen.

        Raises:
            StoreUnavailable: MongoDB does not answer.
            RecipientUnreachable: the contact's only known id is somebody else's by now.
        """
        with store_reached("contacts"):
            found = await self._contacts.find_one(
                {"_id": conversation_id(channel_id, contact_key)}, {"address": 1}
            )
        if found is None:
            return None
        if found["address"] is None:
            raise RecipientUnreachable(blocked=False, text=_GONE)
        return str(found["address"])

    async def contact(self, conversation_id: str) -> ReachedContact | None:
        """Who the conversation is with; None: nobody who can be reached.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        with store_reached("contacts"):
            found = await self._contacts.find_one({"_id": conversation_id})
        if found is None or found["address"] is None:
            return None
        return ReachedContact(
            channel_id=found["channel_id"],
            contact_key=found["contact_key"],
            address=found["address"],
            last_inbound_provider_id=found["last_inbound_provider_id"],
        )

    # --- forgetting

    async def channel_ids(self) -> set[str]:
        """The channels of everybody who is remembered.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        found: set[str] = set()
        for collection in (self._contacts, self._aliases):
            with store_reached(collection.name):
                found.update(await collection.distinct("channel_id"))
        return found

    async def forget(self, channel_id: str) -> bool:
        """Forget some people of a channel that is gone; False once nobody is left.

        Raises:
            StoreUnavailable: MongoDB does not answer.
        """
        is_more = False
        for collection in (self._contacts, self._aliases):
            with store_reached(collection.name):
                found = await collection.find({"channel_id": channel_id}, {"_id": 1}).to_list(
                    FORGOTTEN_AT_ONCE
                )
                await collection.delete_many({"_id": {"$in": [document["_id"] for document in found]}})
            is_more |= len(found) == FORGOTTEN_AT_ONCE
        return is_more

    # --- ids

    async def _match(self, channel_id: str, people: Sequence[PersonSeen]) -> tuple[Matched, bool]:
        """What was decided, stored; and whether anything of it is new."""
        mentioned = list(
            dict.fromkeys(id_ for one in people for id_ in (*one.ids, *one.retired, *one.also, one.key))
        )
        ours: frozenset[str] = frozenset()
        for _ in range(ROUNDS):
            known = await self._read(channel_id, mentioned)
            rows = dict(known)
            matched = match(people, rows, ours)
            changed = {alias: row for alias, row in rows.items() if known.get(alias) != row}
            if not changed:
                return matched, bool(ours)
            inserted, is_stored = await self._store(channel_id, changed, matched.waves)
            if is_stored:
                return matched, True
            ours |= inserted
        raise StoreUnavailable(f"people: other replicas were faster {ROUNDS} times; it will be repeated")

    async def _read(self, channel_id: str, aliases: Sequence[str]) -> dict[str, Alias]:
        found: list[Document] = []
        for start in range(0, len(aliases), _IDS_AT_ONCE):
            wanted = {"channel_id": channel_id, "alias": {"$in": aliases[start : start + _IDS_AT_ONCE]}}
            with store_reached("aliases"):
                found += await self._aliases.find(wanted).to_list(None)
        return {document["alias"]: _alias(document) for document in found}

    async def _store(
        self, channel_id: str, rows: Mapping[str, Alias], waves: Mapping[str, int]
    ) -> tuple[frozenset[str], bool]:
        """Write rows; returns the ids that are new by us, and False if somebody else was faster."""
        inserted: set[str] = set()
        fresh = [row for row in rows.values() if row.rev == 0]
        for wave in sorted({waves[row.alias] for row in fresh}):
            batch = [row for row in fresh if waves[row.alias] == wave]
            refused = await self._insert([_document(channel_id, row) for row in batch])
            inserted.update(row.alias for n, row in enumerate(batch) if n not in refused)
            if refused:
                return frozenset(inserted), False
        changes = [
            UpdateOne(
                {"channel_id": channel_id, "alias": row.alias, "rev": row.rev},
                {"$set": _document(channel_id, row)},
            )
            for row in rows.values()
            if row.rev
        ]
        if not changes:
            return frozenset(inserted), True
        with store_reached("aliases"):
            result = await self._aliases.bulk_write(changes, ordered=False)
        return frozenset(inserted), result.matched_count == len(changes)

    async def _insert(self, documents: Sequence[Document]) -> set[int]:
        """Which of them are there already, by their numbers."""
        try:
            with store_reached("aliases"):
                await self._aliases.insert_many(documents, ordered=False)
        except BulkWriteError as exc:
            if exc.details.get("writeConcernErrors"):
                raise StoreUnavailable("aliases: the write was not confirmed") from exc
            errors = exc.details["writeErrors"]
            if any(error["code"] != _DUPLICATE_KEY for error in errors):
                raise
            return {error["index"] for error in errors}
        return set()

    # --- contacts

    async def _keep_contacts(
        self,
        channel_id: str,
        people: Sequence[PersonSeen],
        matched: Matched,
        events: Iterable[InboundEvent],
        *,
        is_durable: bool,
    ) -> None:
        reached: dict[str, PersonSeen] = {}
        for person, contact_key, moved in zip(people, matched.contacts, matched.moved, strict=True):
            if person.is_known_only:
                continue
            for key in (contact_key, moved):
                if key is not None and (key not in reached or person.at >= reached[key].at):
                    reached[key] = person
        changes = [_without_address(channel_id, key, alias) for key, alias in matched.robbed]
        changes += [
            _reached(channel_id, key, person.address, person.at, self._clock())
            for key, person in reached.items()
        ]
        last: dict[str, MessageReceived] = {}
        for event in events:
            if isinstance(event, MessageReceived):
                before = last.get(event.conversation_id)
                if before is None or (event.sent_at, event.provider_seq) >= (
                    before.sent_at,
                    before.provider_seq,
                ):
                    last[event.conversation_id] = event
        changes += [_heard(event) for event in last.values()]
        if not changes:
            return
        # What is lost of these with a server is said again by the contact's next message.
        contacts = self._contacts if is_durable else loosely(self._contacts)
        for _ in range(ROUNDS):
            try:
                with store_reached("contacts"):
                    await contacts.bulk_write(changes)
            except BulkWriteError as exc:
                if any(error["code"] != _DUPLICATE_KEY for error in exc.details["writeErrors"]):
                    raise StoreUnavailable("contacts: the write was not confirmed") from exc
                # Another replica made the same contact at this moment: now it is there to be changed.
            else:
                return
        raise StoreUnavailable("contacts: other replicas were faster; it will be repeated")


def _rewritten(
    channel_id: str,
    people: Sequence[PersonSeen],
    contacts: Sequence[str | None],
    events: Iterable[InboundEvent],
) -> tuple[InboundEvent, ...]:
    """The events in the conversations of their contacts, without those of nobody's."""
    found: dict[str, list[tuple[datetime, str]]] = {}
    for person, contact_key in zip(people, contacts, strict=True):
        seen = found.setdefault(person.key, [])
        if contact_key is not None:
            seen.append((person.at, contact_key))
    rewritten: list[InboundEvent] = []
    for event in events:
        if not isinstance(event, _OfContact) or event.contact.key not in found:
            rewritten.append(event)
        elif found[event.contact.key]:
            rewritten.append(_in_conversation(channel_id, event, found[event.contact.key]))
    return tuple(rewritten)


def _in_conversation(
    channel_id: str, event: _OfContact, seen: Sequence[tuple[datetime, str]]
) -> InboundEvent:
    # An id that passed to somebody else within this very webhook: whose it was at the event's own time.
    moment = _moment(event)
    earlier = [key for at, key in seen if at <= moment]
    contact_key = earlier[-1] if earlier else seen[0][1]
    if contact_key == event.contact.key:
        return event
    return event.model_copy(
        update={
            "conversation_id": conversation_id(channel_id, contact_key),
            "contact": event.contact.model_copy(update={"key": contact_key}),
        }
    )


def _moment(event: _OfContact) -> datetime:
    match event:
        case MessageReceived() | MessageEchoed() | MessageRecalled():
            return event.sent_at
        case MessageEdited():
            return event.edited_at
        case MessageDeleted():
            return event.deleted_at
        case ReactionChanged():
            return event.reacted_at
        case ContactChanged() | ContactAvailability():
            return event.happened_at


def _reached(channel_id: str, key: str, address: str, at: datetime, now: datetime) -> UpdateOne:
    """The newest word on the address counts, whenever it comes."""
    is_newer = {"$gte": [at, {"$ifNull": ["$address_at", _LONG_AGO]}]}
    return UpdateOne(
        {"_id": conversation_id(channel_id, key)},
        [
            {
                "$set": {
                    "channel_id": {"$literal": channel_id},
                    "contact_key": {"$literal": key},
                    "address": {"$cond": [is_newer, {"$literal": address}, "$address"]},
                    "address_at": {"$max": ["$address_at", at]},
                    "created_at": {"$ifNull": ["$created_at", now]},
                    "last_inbound_provider_id": {"$ifNull": ["$last_inbound_provider_id", None]},
                }
            }
        ],
        upsert=True,
    )


def _without_address(channel_id: str, key: str, address: str) -> UpdateOne:
    """What we wrote to this contact would reach somebody else."""
    return UpdateOne(
        {"_id": conversation_id(channel_id, key), "address": address}, {"$set": {"address": None}}
    )


def _heard(event: MessageReceived) -> UpdateOne:
    is_newer = {"$gte": [event.sent_at, {"$ifNull": ["$last_inbound_at", _LONG_AGO]}]}
    provider_id = {"$literal": event.provider_id}
    return UpdateOne(
        {"_id": event.conversation_id},
        [
            {
                "$set": {
                    "last_inbound_provider_id": {
                        "$cond": [is_newer, provider_id, "$last_inbound_provider_id"]
                    },
                    "last_inbound_at": {"$max": ["$last_inbound_at", event.sent_at]},
                }
            }
        ],
    )


def _document(channel_id: str, row: Alias) -> Document:
    return {
        "channel_id": channel_id,
        "alias": row.alias,
        "contact_key": row.contact_key,
        "since": row.since,
        "retired_at": row.retired_at,
        "before": [{"contact_key": held.contact_key, "until": held.until} for held in row.before],
        "rev": row.rev + 1,
    }


def _alias(document: Mapping[str, Any]) -> Alias:
    return Alias(
        alias=document["alias"],
        contact_key=document["contact_key"],
        since=document["since"],
        retired_at=document["retired_at"],
        before=tuple(Held(one["contact_key"], one["until"]) for one in document["before"]),
        rev=document["rev"],
    )


def _exact(moment: datetime) -> datetime:
    """Cut to milliseconds, as the store gives it back."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
