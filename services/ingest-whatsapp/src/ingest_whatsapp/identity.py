"""Who a webhook speaks of: phone, business-scoped user id, or one of them, in every place they come. Pure.

Source: fact sheet 1.4 (five variants) and 3.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from ingest_whatsapp.payloads import BSUID_PREFIX, ID_MAX_CHARS, NAME_MAX_CHARS, WORD_MAX_CHARS
from ingest_whatsapp.phones import e164, phone_key, same_phone, spellings, wa_id
from msgkit.connector.contract import PersonSeen
from msgkit.connector.raw import Node, is_node, items, node, opaque, words
from msgkit.contracts.events import Contact

_BSUID = re.compile(r"[A-Z]{2}\.(?!ENT\.)[A-Za-z0-9._-]{1,140}")
"""A parent id, `CC.ENT.…`, is none: it never comes without the id it is the parent of, it may stand for
people of other portfolios, and nothing can be sent to it. So it would be kept about a person for nothing."""


@dataclass(frozen=True, slots=True)
class Ids:
    """What a webhook proves of one person; either may be missing."""

    bsuid: str | None
    phone: str | None
    """wa_id, exactly as Meta writes it: digits without a plus."""

    @property
    def keys(self) -> tuple[str, ...]:
        """As ids of the kit, the strongest first: a phone may be somebody else's one day."""
        bsuid = () if self.bsuid is None else (f"{BSUID_PREFIX}{self.bsuid}",)
        return bsuid if self.phone is None else (*bsuid, phone_key(self.phone))

    @property
    def address(self) -> str:
        """By which the person is reached: the phone, as long as Meta tells it."""
        return self.keys[-1]

    def __bool__(self) -> bool:
        return self.bsuid is not None or self.phone is not None

    def also(self, other: Ids) -> Ids:
        """With what the other one knows where this one knows nothing."""
        return Ids(self.bsuid or other.bsuid, self.phone or other.phone)

    def meets(self, other: Ids) -> bool:
        """Whether both name the same id."""
        by_bsuid = self.bsuid is not None and self.bsuid == other.bsuid
        return by_bsuid or same_phone(self.phone, other.phone)


@dataclass(frozen=True, slots=True)
class Person:
    """A person of a webhook, with what it calls them."""

    ids: Ids
    name: str
    username: str | None

    @property
    def key(self) -> str:
        return self.ids.keys[0]

    def contact(self, phone: str | None = None) -> Contact:
        """Who it is in our words; `phone` is one proved elsewhere, in E.164."""
        return Contact(
            key=self.key,
            name=self.name,
            username=self.username,
            phone=e164(self.ids.phone) or phone,
            language=None,
        )

    def seen(self, at: datetime, retired: Ids | None = None, *, is_known_only: bool = False) -> PersonSeen:
        """The proof, for the kit.

        Args:
            at: when.
            retired: ids that were this person's until now.
            is_known_only: as in `PersonSeen`.
        """
        keys = self.ids.keys
        old = () if retired is None else retired.keys
        phone = self.ids.phone
        return PersonSeen(
            key=keys[0],
            ids=keys,
            also=() if phone is None else tuple(phone_key(other) for other in spellings(phone)),
            retired=tuple(one for one in old if one not in keys),
            address=self.ids.address,
            at=at,
            is_known_only=is_known_only,
        )


def ids_of(phone: object, user_id: object) -> Ids:
    """The ids of one place, whichever of them is missing, empty, a number, or stands in the other's field."""
    told_phone, told_id = opaque(phone, ID_MAX_CHARS), opaque(user_id, ID_MAX_CHARS)
    bsuid = told_id if told_id is not None and _BSUID.fullmatch(told_id) else None
    if bsuid is None and told_phone is not None and _BSUID.fullmatch(told_phone):
        bsuid = told_phone
    return Ids(bsuid, None if told_phone is None else wa_id(told_phone))


def of_sender(message: Node) -> Ids:
    """Who wrote."""
    return ids_of(message.get("from"), message.get("from_user_id"))


def of_target(message: Node) -> Ids:
    """To whom it was written, in an echo."""
    return ids_of(message.get("to"), message.get("to_user_id"))


def of_recipient(status: Node) -> Ids:
    """To whom, in a status."""
    return ids_of(status.get("recipient_id"), status.get("recipient_user_id"))


class People:
    """`contacts[]` of one change: who is named there, found by any id."""

    def __init__(self, contacts: object) -> None:
        told = [contact for contact in items(contacts) if is_node(contact)]
        self._people = [_person(contact) for contact in told]
        # A change may speak of a thousand people.
        self._by_key = {key: person for person in reversed(self._people) for key in _findable(person.ids)}

    def find(self, ids: Ids) -> Person | None:
        """The person with these ids and everything `contacts[]` says; None if nobody can be named.

        Without any id in the message itself it can only be the one person the change speaks of.
        """
        found = next((self._by_key[key] for key in _findable(ids) if key in self._by_key), None)
        if found is None and not ids and len(self._people) == 1:
            found = self._people[0]
        if found is None:
            return Person(ids, "", None) if ids else None
        # A phone of `contacts` belongs to the message unless the message names another one.
        together = ids.also(found.ids) if not ids or ids.meets(found.ids) else ids
        return Person(together, found.name, found.username) if together else None


def same_people(seen: Iterable[PersonSeen]) -> tuple[PersonSeen, ...]:
    """Each proof once, with its latest moment; a change of ids starts anew, because order counts there."""
    kept: list[PersonSeen] = []
    places: dict[tuple[object, ...], int] = {}
    for person in seen:
        if person.retired:
            places.clear()
            kept.append(person)
            continue
        proof = (person.key, person.ids, person.also, person.address, person.is_known_only)
        place = places.get(proof)
        if place is None:
            places[proof] = len(kept)
            kept.append(person)
        elif kept[place].at < person.at:
            kept[place] = person
    return tuple(kept)


def _person(contact: Node) -> Person:
    profile = node(contact.get("profile"))
    # Mutable and for display only (fact sheet 3); shown with an @ of our own.
    username = words(profile.get("username"), WORD_MAX_CHARS)
    return Person(
        ids=ids_of(contact.get("wa_id"), contact.get("user_id")),
        name=words(profile.get("name"), NAME_MAX_CHARS) or "",
        username=None if username is None else username.removeprefix("@") or None,
    )


def _findable(ids: Ids) -> tuple[str, ...]:
    if ids.phone is None:
        return ids.keys
    return (*ids.keys, *(phone_key(other) for other in spellings(ids.phone)))
