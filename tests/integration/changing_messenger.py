"""The plain messenger once more, whose ids of people change, with marks of calls, reading and typing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from plain_messenger import AT, MANIFEST, Part, Phone, PlainConnector, _received

from msgkit.connector.contract import (
    Account,
    Parsed,
    PersonSeen,
    ProviderReceipt,
    WebhookRequest,
    send_mark,
)
from msgkit.contracts.events import Contact, ContactChanged, Failure, MessageReceived, SendMessage
from msgkit.contracts.ids import conversation_id, derived_id
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import FailureCode, MessageState

CHANGING: Manifest = MANIFEST.model_copy(
    update={
        "abilities": MANIFEST.abilities.model_copy(
            update={"typing": True, "read_marks": True, "reactions": True}
        )
    }
)


@dataclass(frozen=True)
class MarkedPart(Part):
    """A part that carries its mark."""

    mark: str


class ChangingConnector(PlainConnector):
    """Its webhooks say `{"people": [{"ids": […], …}], "messages": […], "receipts": […], "names": […]}`.

    `names` is what the owner's address book says: `{"ids": […], "name": …}`.
    """

    def __init__(self, phone: Phone, resolves_unknown_s: float = 30.0) -> None:
        super().__init__(phone)
        self._resolves_unknown_s = resolves_unknown_s
        self.signals: list[tuple[str, str, str]] = []
        """(what, address, provider id)"""
        self.signal_fault: Exception | None = None
        self.leave_fault: Exception | None = None
        self.leavings = 0
        """How often we tried to take our webhook away."""

    @property
    def manifest(self) -> Manifest:
        return CHANGING

    @property
    def resolves_unknown_s(self) -> float:
        return self._resolves_unknown_s

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        said = json.loads(request.body)
        return Parsed(
            events=(
                *(_message(one, request, account) for one in said.get("messages", ())),
                *(_renamed(one, account) for one in said.get("names", ())),
            ),
            receipts=tuple(_receipt(one) for one in said.get("receipts", ())),
            people=(
                *(_person(one) for one in said.get("people", ())),
                *(replace(_person(one), is_known_only=True) for one in said.get("names", ())),
            ),
        )

    def plan(self, message: SendMessage, account: Account) -> Sequence[Part]:
        return [
            MarkedPart(part.message_id, part.client, part.text, send_mark(message.message_id, number))
            for number, part in enumerate(super().plan(message, account))
        ]

    async def disconnect(self, account: Account) -> None:
        self.leavings += 1
        if self.leave_fault is not None:
            raise self.leave_fault
        await super().disconnect(account)

    async def mark_read(self, address: str, provider_id: str, account: Account) -> None:
        self._signal("read", address, provider_id, account)

    async def show_typing(self, address: str, provider_id: str, account: Account) -> None:
        self._signal("typing", address, provider_id, account)

    def _signal(self, what: str, address: str, provider_id: str, account: Account) -> None:
        del account
        self.signals.append((what, address, provider_id))
        self._phone.arrived.set()
        if self.signal_fault is not None:
            raise self.signal_fault


def moment(second: int) -> datetime:
    return AT + timedelta(seconds=second)


def _message(said: Mapping[str, Any], request: WebhookRequest, account: Account) -> MessageReceived:
    return _received(said, request, account).model_copy(update={"sent_at": moment(said.get("at", 0))})


def _renamed(said: Mapping[str, Any], account: Account) -> ContactChanged:
    key = said["ids"][0]
    return ContactChanged(
        type="contact.changed.v1",
        event_id=derived_id("renamed", account.channel_id, key, said["name"]),
        tenant_id=account.tenant_id,
        channel_id=account.channel_id,
        channel_kind=account.kind,
        recorded_at=AT,
        conversation_id=conversation_id(account.channel_id, key),
        contact=Contact(key=key, name=said["name"], username=None, phone=None, language=None),
        webhook_id="",
        raw="",
        previous_phone=None,
        is_new_number=False,
        happened_at=moment(said.get("at", 0)),
    )


def _person(said: Mapping[str, Any]) -> PersonSeen:
    ids = tuple(said["ids"])
    return PersonSeen(
        key=ids[0],
        ids=ids,
        also=tuple(said.get("also", ())),
        retired=tuple(said.get("retired", ())),
        address=said.get("address", ids[-1]),
        at=moment(said.get("at", 0)),
    )


def _receipt(said: Mapping[str, Any]) -> ProviderReceipt:
    state: Any = MessageState(said["state"])
    is_refusal = state is MessageState.FAILED
    return ProviderReceipt(
        conversation_id=None,
        provider_id=said["id"],
        state=state,
        and_earlier=False,
        failure=Failure(code=FailureCode.REJECTED, text="Не показано.") if is_refusal else None,
        contact_blocked=False,
        happened_at=AT,
        mark=said.get("mark"),
    )
