"""What connectors say of their messengers: heard on `presence`, kept so that a restart knows it."""

from __future__ import annotations

from typing import Final

from inbox.domain import Messenger
from msgkit.contracts.manifest import ManifestAnnounced
from msgkit.runtime.logs import get_logger
from msgkit.runtime.mongo import STORE_ERRORS, Database, Document

log = get_logger(__name__)

MAX_KINDS: Final = 64
_UNKNOWN: Final = Messenger()


class Kinds:
    """The messengers by kind. What one can is known also while its connector is away."""

    def __init__(self, database: Database) -> None:
        self._manifests = database["manifests"]
        self._known: dict[str, Messenger] = {}
        self._kept: dict[str, Messenger] = {}

    async def load(self) -> None:
        """Take in what was heard before this start. Raises: STORE_ERRORS."""
        for document in await self._manifests.find({}).to_list(None):
            self._kept[document["_id"]] = self._known[document["_id"]] = _messenger_of(document)

    def of(self, kind: str) -> Messenger:
        """What a decision must know of a messenger; of one nobody announced, that nothing is refused."""
        return self._known.get(kind, _UNKNOWN)

    async def hear(self, announced: ManifestAnnounced) -> None:
        """Take an announcement in; it is written only when it says something new."""
        manifest = announced.manifest
        kind, abilities = manifest.kind, manifest.abilities
        messenger = Messenger(
            manifest.reply_window_hours,
            abilities.templates,
            abilities.read_marks,
            manifest.human_reply_window_hours,
            manifest.title,
        )
        if self._kept.get(kind) == messenger:
            self._known[kind] = messenger
            return
        if kind not in self._known and len(self._known) >= MAX_KINDS:
            log.warning("too_many_kinds", kind=kind)
            return
        self._known[kind] = messenger
        try:
            await self._manifests.replace_one({"_id": kind}, _document_of(kind, messenger), upsert=True)
        except STORE_ERRORS as exc:
            # The next announcement, in half a minute, is another try.
            log.warning("manifest_not_kept", kind=kind, reason=type(exc).__name__)
            return
        self._kept[kind] = messenger
        log.info("messenger_known", kind=kind, reply_window_hours=messenger.reply_window_hours)


def _document_of(kind: str, messenger: Messenger) -> Document:
    return {
        "_id": kind,
        "reply_window_hours": messenger.reply_window_hours,
        "has_templates": messenger.has_templates,
        "tells_reading": messenger.tells_reading,
        "human_reply_window_hours": messenger.human_reply_window_hours,
        "title": messenger.title,
    }


def _messenger_of(document: Document) -> Messenger:
    return Messenger(
        document["reply_window_hours"],
        document["has_templates"],
        document["tells_reading"],
        # What was kept before there were longer windows.
        document.get("human_reply_window_hours"),
        document.get("title", ""),
    )
