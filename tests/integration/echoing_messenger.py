"""The plain messenger once more, which tells us of our own messages too, and knows watermarks."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from changing_messenger import CHANGING, MarkedPart
from plain_messenger import AT, Part, Phone, PlainConnector, _received

from msgkit.connector.contract import Account, Parsed, ProviderReceipt, WebhookRequest, send_mark
from msgkit.contracts.events import Contact, Content, MessageEchoed, SendMessage
from msgkit.contracts.ids import conversation_id, inbound_event_id
from msgkit.contracts.manifest import Manifest
from msgkit.contracts.words import AuthorKind, MessageKind, MessageState

ECHOING: Manifest = CHANGING.model_copy(
    update={"reply_window_hours": 24, "human_reply_window_hours": 168, "human_agent_by_default": False}
)


class EchoingConnector(PlainConnector):
    """Its webhooks say `{"said": [{"client", "id", "text", "is_echo"}, …], "receipts": […]}`, in order."""

    def __init__(self, phone: Phone, *, echo_wait_s: float = 5.0, resolves_unknown_s: float = 30.0) -> None:
        super().__init__(phone)
        self._echo_wait_s = echo_wait_s
        self._resolves_unknown_s = resolves_unknown_s
        self.signals: list[tuple[str, str, str]] = []
        """(what, address, provider id)"""
        self.signal_fault: Exception | None = None

    @property
    def manifest(self) -> Manifest:
        return ECHOING

    @property
    def echo_wait_s(self) -> float:
        return self._echo_wait_s

    @property
    def resolves_unknown_s(self) -> float:
        return self._resolves_unknown_s

    def parse(self, request: WebhookRequest, account: Account) -> Parsed:
        body = json.loads(request.body)
        return Parsed(
            events=tuple(
                _echoed(one, request, account) if one.get("is_echo") else _received(one, request, account)
                for one in body.get("said", ())
            ),
            receipts=tuple(_receipt(one, account) for one in body.get("receipts", ())),
        )

    def plan(self, message: SendMessage, account: Account) -> Sequence[Part]:
        return [
            MarkedPart(part.message_id, part.client, part.text, send_mark(message.message_id, number))
            for number, part in enumerate(super().plan(message, account))
        ]

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


def _echoed(said: Mapping[str, Any], request: WebhookRequest, account: Account) -> MessageEchoed:
    client, provider_id = str(said["client"]), str(said["id"])
    return MessageEchoed(
        type="message.echoed.v1",
        event_id=inbound_event_id(account.kind, account.channel_id, provider_id, "message.echoed.v1"),
        tenant_id=account.tenant_id,
        channel_id=account.channel_id,
        channel_kind=account.kind,
        recorded_at=AT,
        conversation_id=conversation_id(account.channel_id, client),
        webhook_id=request.webhook_id,
        raw=json.dumps(said),
        contact=Contact(key=client, name="", username=None, phone=None, language=None),
        provider_id=provider_id,
        provider_seq=0,
        sent_at=AT,
        author_kind=AuthorKind.OPERATOR,
        content=Content(
            kind=MessageKind.TEXT,
            text=said["text"],
            entities=[],
            media=said.get("media", []),
            place=None,
            shared_contact=None,
            shared_link=None,
            unsupported=None,
        ),
        buttons=[],
        reply_to_provider_id=None,
    )


def _receipt(said: Mapping[str, Any], account: Account) -> ProviderReceipt:
    state: Any = MessageState(said["state"])
    up_to = said.get("up_to")
    return ProviderReceipt(
        conversation_id=conversation_id(account.channel_id, str(said["client"])),
        provider_id=said.get("id"),
        state=state,
        and_earlier=False,
        failure=None,
        contact_blocked=False,
        happened_at=datetime.fromisoformat(said["at"]) if "at" in said else AT,
        mark=said.get("mark"),
        up_to=None if up_to is None else datetime.fromisoformat(up_to),
    )
