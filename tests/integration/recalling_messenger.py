"""A messenger of the tests' own that can be read again: its words stay in a folder, whoever listens.

`python -m recalling_messenger` runs its ingest service; the folder is `RECALLING_FOLDER`.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from plain_messenger import MANIFEST as PLAIN
from plain_messenger import Phone, PlainConnector

from msgkit.connector.contract import (
    Account,
    ConnectionReport,
    Identity,
    Parsed,
    Profile,
    Recalled,
    WebhookRequest,
)
from msgkit.connector.ingest import build_ingest
from msgkit.connector.settings import IngestSettings
from msgkit.contracts.events import MessageReceived
from msgkit.contracts.manifest import Manifest
from msgkit.runtime.service import Service, run

KIND = "recalling"
SERVICE = "ingest-recalling"
MANIFEST: Manifest = PLAIN.model_copy(update={"kind": KIND, "service": SERVICE})
PAGE = 10
"""Messages of a page."""
LOST = "Підписку знято."
TAKEN = "Повідомлення забирає інша система."


class Platform:
    """The messenger's side, in files: a killed process of ours changes nothing of it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    # --- what clients say

    def say(self, client: str, text: str, *, at: datetime | None = None) -> dict[str, Any]:
        """A client writes; returns the message as a webhook names it."""
        moment = at or datetime.now(UTC)
        said = {"client": client, "id": f"m-{client}-{text}", "text": text, "at": moment.isoformat()}
        with (self._folder / "said").open("a") as file:
            file.write(json.dumps(said) + "\n")
        return said

    def said(self) -> list[dict[str, Any]]:
        return self._lines("said")

    # --- who hears it

    @property
    def registered(self) -> str:
        """The address of the webhook; empty: the messenger dropped it."""
        file = self._folder / "registered"
        return file.read_text() if file.exists() else ""

    @registered.setter
    def registered(self, address: str) -> None:
        (self._folder / "registered").write_text(address)

    # --- who reads it again

    def recalls(self) -> list[dict[str, Any]]:
        """Every page that was asked for: `since`, `cursor`."""
        return self._lines("recalls")

    def note_recall(self, since: datetime, cursor: str | None) -> None:
        with (self._folder / "recalls").open("a") as file:
            file.write(json.dumps({"since": since.isoformat(), "cursor": cursor}) + "\n")

    def hold_at(self, cursor: str | None) -> None:
        """No page from this cursor on is answered, until it is None."""
        hold = self._folder / "hold"
        if cursor is None:
            hold.unlink(missing_ok=True)
        else:
            hold.write_text(cursor)

    def is_held(self, cursor: str | None) -> bool:
        hold = self._folder / "hold"
        return hold.exists() and int(cursor or 0) >= int(hold.read_text())

    def _lines(self, name: str) -> list[dict[str, Any]]:
        file = self._folder / name
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@dataclass
class Script:
    """What the messenger answers otherwise than usual; of one process."""

    recall_faults: list[Exception] = field(default_factory=list)
    """Raised by the next recalls, one each."""
    connect_fault: Exception | None = None
    profiles: dict[str, Profile | Exception | None] = field(default_factory=dict)
    """By contact; who is missing here calls himself «Клієнт …»."""
    asked: list[str] = field(default_factory=list)
    renewal: Mapping[str, str] | Exception | None = None
    renewals: list[str] = field(default_factory=list)
    """The token of each renewal asked for."""
    renewing: asyncio.Event | None = None
    """While set, renewals are held until it is."""
    check_fault: Exception | None = None


class RecallingConnector(PlainConnector):
    """Its webhooks name nobody: `{"messages": [{"client", "id", "text", "at"}]}`."""

    def __init__(self, platform: Platform, script: Script) -> None:
        super().__init__(Phone())
        self._platform = platform
        self._script = script

    @property
    def manifest(self) -> Manifest:
        return MANIFEST

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        moments = {one["id"]: one["at"] for one in json.loads(request.body).get("messages", ())}
        return Parsed(
            events=tuple(
                event.model_copy(
                    update={
                        "sent_at": datetime.fromisoformat(moments[event.provider_id]),
                        "contact": event.contact.model_copy(update={"name": ""}),
                    }
                )
                for event in super().parse(request, account).events
                if isinstance(event, MessageReceived)
            )
        )

    async def probe(self, account: Account) -> Identity:
        return Identity("recalled-account", "recalling")

    # --- being heard

    async def connect(self, account: Account, webhook_url: str) -> None:
        if self._script.connect_fault is not None:
            raise self._script.connect_fault
        self._platform.registered = webhook_url

    async def check(self, account: Account, webhook_url: str) -> ConnectionReport:
        if self._script.check_fault is not None:
            raise self._script.check_fault
        found = self._platform.registered
        if found == webhook_url:
            return ConnectionReport(True, None, None)
        return ConnectionReport(False, TAKEN if found else LOST, None, is_dropped=not found)

    async def disconnect(self, account: Account) -> None:
        self._platform.registered = ""

    # --- being read again

    async def recall(self, since: datetime, cursor: str | None, account: Account) -> Recalled:
        self._platform.note_recall(since, cursor)
        while self._platform.is_held(cursor):  # noqa: ASYNC110 - as said
            await asyncio.sleep(0.02)  # pace: a file has no event
        if self._script.recall_faults:
            raise self._script.recall_faults.pop(0)
        said = [one for one in self._platform.said() if datetime.fromisoformat(one["at"]) >= since]
        start = int(cursor or 0)
        page = said[start : start + PAGE]
        return Recalled(
            tuple(json.dumps({"messages": [one]}).encode() for one in page),
            str(start + PAGE) if len(said) > start + PAGE else None,
        )

    async def profile(self, contact_key: str, account: Account) -> Profile | None:
        self._script.asked.append(contact_key)
        answer = self._script.profiles.get(contact_key, Profile(f"Клієнт {contact_key}", None))
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def renew(self, account: Account) -> Mapping[str, str] | None:
        self._script.renewals.append(account.credentials["token"])
        if self._script.renewing is not None:
            await self._script.renewing.wait()
        if isinstance(self._script.renewal, Exception):
            raise self._script.renewal
        return self._script.renewal


def ago(**time: float) -> datetime:
    return datetime.now(UTC) - timedelta(**time)


def build() -> Service:
    """The service, wired and not yet running."""
    platform = Platform(Path(os.environ["RECALLING_FOLDER"]))
    return build_ingest(RecallingConnector(platform, Script()), IngestSettings())


if __name__ == "__main__":
    run(build)
