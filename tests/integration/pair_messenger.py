"""Two messengers of one company in one service: the app's messenger of the tests with a second kind."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from app_messenger import MANIFEST, Answers, AppConnector
from plain_messenger import Part, Phone

from msgkit.connector.contract import Account, Receipt
from msgkit.contracts.manifest import Limit, Manifest
from msgkit.contracts.words import MessageKind

OTHER_KIND = "plain_other"
OTHER: Manifest = MANIFEST.model_copy(
    update={
        "kind": OTHER_KIND,
        "title": "Other",
        "abilities": MANIFEST.abilities.model_copy(update={"media_kinds": [MessageKind.LOCATION.value]}),
        "limits": {
            "calls": Limit(value=2, unit="per_second", source="our own"),
            "file_in": Limit(value=10, unit="bytes", source="our own"),
        },
        "credentials_schema": {
            "properties": {
                "token": {"type": "string"},
                "page": {"type": "string"},
                "app_secret": {"type": "string"},
            },
            "required": ["token", "page"],
        },
    }
)


@dataclass
class PairConnector(AppConnector):
    """Serves KIND and OTHER_KIND; `account.kind` tells which."""

    phone: Phone = field(default_factory=Phone)
    answers: Answers = field(default_factory=Answers)
    calls: list[tuple[str, str, float]] = field(default_factory=list)
    """(kind, text, moment of the loop) of each call."""

    def __post_init__(self) -> None:
        super().__init__(self.phone, self.answers)

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        return MANIFEST, OTHER

    async def deliver(self, request: Part, account: Account) -> Receipt:
        self.calls.append((account.kind, request.text, asyncio.get_running_loop().time()))
        return await super().deliver(request, account)
