"""The other services over HTTP: inbox, and the connectors by the address they announce."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar

import httpx2
from pydantic import BaseModel, TypeAdapter

from gateway.schemas import SERVICE, Session
from msgkit.contracts.access import allowed_channels
from msgkit.contracts.internal_api import (
    AccountHealth,
    AccountProbe,
    AccountSettings,
    ChannelPatch,
    ChannelState,
    ConnectAccount,
    LiveEpoch,
    MediaRecord,
    MessagesPage,
    MessageTemplate,
    Overview,
    ReadMark,
    ReadRequest,
    ResolveRequest,
    RowsPage,
    SendRequest,
    StoreChannel,
    Trail,
    UnreadRequest,
)
from msgkit.contracts.views import ChannelView, Counters, MessageView, RequestRef, ViewerRow
from msgkit.runtime.http import InternalClient
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller, ServiceTokens

ModelT = TypeVar("ModelT", bound=BaseModel)

ConversationAction = Literal["claim", "takeover", "assign", "release", "return-to-bot", "status"]

_CHANNELS: TypeAdapter[list[ChannelView]] = TypeAdapter(list[ChannelView])
_REQUESTS: TypeAdapter[list[RequestRef]] = TypeAdapter(list[RequestRef])
_TEMPLATES: TypeAdapter[list[MessageTemplate]] = TypeAdapter(list[MessageTemplate])

CHANNELS_TTL_SECONDS = 30.0
"""How long a list of channels is believed without a word of change."""
MAX_TENANTS = 2_000


def system_caller(tenant_id: str | None, roles: frozenset[str] = frozenset()) -> Caller:
    """The gateway itself, without a person."""
    return Caller(service=SERVICE, tenant_id=tenant_id, user_id=None, user_name=None, roles=roles)


class Inbox:
    """The internal API of inbox, in our words. Refusals come as Problem, with inbox's own status and code."""

    def __init__(self, http: InternalClient) -> None:
        self._http = http

    async def overview(self, session: Session) -> Overview:
        return await self._get(Overview, "/internal/overview", session.caller)

    async def counters(self, caller: Caller) -> Counters:
        return await self._get(Counters, "/internal/counters", caller)

    async def conversations(self, session: Session, query: Mapping[str, str]) -> RowsPage:
        return await self._get(RowsPage, "/internal/conversations", session.caller, query)

    async def conversation(self, session: Session, conversation_id: str) -> ViewerRow:
        return await self._get(ViewerRow, f"/internal/conversations/{conversation_id}", session.caller)

    async def messages(
        self, session: Session, conversation_id: str, query: Mapping[str, str]
    ) -> MessagesPage:
        path = f"/internal/conversations/{conversation_id}/messages"
        return await self._get(MessagesPage, path, session.caller, query)

    async def requests(self, session: Session, conversation_id: str) -> list[RequestRef]:
        path = f"/internal/conversations/{conversation_id}/requests"
        return _REQUESTS.validate_python(await self._http.request("GET", path, caller=session.caller))

    async def send(self, session: Session, conversation_id: str, body: SendRequest) -> MessageView:
        path = f"/internal/conversations/{conversation_id}/messages"
        return MessageView.model_validate(
            await self._http.request("POST", path, caller=session.caller, json=body, repeatable=True)
        )

    async def read(self, session: Session, conversation_id: str, body: ReadRequest) -> ReadMark:
        path = f"/internal/conversations/{conversation_id}/read"
        return ReadMark.model_validate(
            await self._http.request("POST", path, caller=session.caller, json=body, repeatable=True)
        )

    async def unread(self, session: Session, conversation_id: str, body: UnreadRequest) -> ReadMark:
        path = f"/internal/conversations/{conversation_id}/unread"
        return ReadMark.model_validate(
            await self._http.request("POST", path, caller=session.caller, json=body, repeatable=True)
        )

    async def act(
        self,
        session: Session,
        conversation_id: str,
        action: ConversationAction,
        if_match: str | None,
        body: BaseModel | None = None,
    ) -> ViewerRow:
        """Change who has a conversation or where it stands."""
        path = f"/internal/conversations/{conversation_id}/{action}"
        headers = None if if_match is None else {"If-Match": if_match}
        return ViewerRow.model_validate(
            await self._http.request("POST", path, caller=session.caller, json=body, headers=headers)
        )

    async def retry(self, session: Session, message_id: str) -> MessageView:
        path = f"/internal/messages/{message_id}/retry"
        return MessageView.model_validate(await self._http.request("POST", path, caller=session.caller))

    async def resolve(self, session: Session, message_id: str, body: ResolveRequest) -> MessageView:
        path = f"/internal/messages/{message_id}/resolve"
        wanted = body.model_dump(by_alias=True)
        return MessageView.model_validate(
            await self._http.request("POST", path, caller=session.caller, json=wanted)
        )

    async def withdraw(self, session: Session, message_id: str) -> None:
        await self._http.request("DELETE", f"/internal/messages/{message_id}", caller=session.caller)

    async def trail(self, session: Session, message_id: str) -> Trail:
        return await self._get(Trail, f"/internal/messages/{message_id}/trail", session.caller)

    async def media(self, session: Session, attachment_id: str) -> MediaRecord:
        return await self._get(MediaRecord, f"/internal/media/{attachment_id}", session.caller)

    async def channels(self, tenant_id: str) -> list[ChannelView]:
        """All channels of the tenant, whoever may see them."""
        return _CHANNELS.validate_python(
            await self._http.request("GET", "/internal/channels", caller=system_caller(tenant_id))
        )

    async def store_channel(self, caller: Caller, channel_id: str, body: StoreChannel) -> ChannelView:
        return await self._channel("PUT", f"/internal/channels/{channel_id}", caller, body)

    async def patch_channel(self, caller: Caller, channel_id: str, body: ChannelPatch) -> ChannelView:
        return await self._channel("PATCH", f"/internal/channels/{channel_id}", caller, body)

    async def set_channel_state(self, caller: Caller, channel_id: str, body: ChannelState) -> ChannelView:
        return await self._channel("POST", f"/internal/channels/{channel_id}/state", caller, body)

    async def delete_channel(self, caller: Caller, channel_id: str) -> None:
        await self._http.request("DELETE", f"/internal/channels/{channel_id}", caller=caller)

    async def live(self) -> LiveEpoch:
        """The epoch of the live stream."""
        return await self._get(LiveEpoch, "/internal/live", system_caller(None))

    async def renew_live(self, missing: str) -> LiveEpoch:
        """Say that the stream of this epoch is gone; the answer is the epoch to use."""
        return LiveEpoch.model_validate(
            await self._http.request(
                "POST", "/internal/live/renew", caller=system_caller(None), json=LiveEpoch(epoch=missing)
            )
        )

    async def _get(
        self, model: type[ModelT], path: str, caller: Caller, query: Mapping[str, str] | None = None
    ) -> ModelT:
        return model.model_validate(
            await self._http.request("GET", path, caller=caller, params=dict(query or {}))
        )

    async def _channel(self, method: str, path: str, caller: Caller, body: BaseModel) -> ChannelView:
        # What is not named stays as it is there: we may not have heard of its last change.
        named = body.model_dump(mode="json", exclude_unset=True)
        return ChannelView.model_validate(await self._http.request(method, path, caller=caller, json=named))


class Connector:
    """The internal API of one ingest service."""

    def __init__(self, http: InternalClient) -> None:
        self._http = http

    async def connect(self, caller: Caller, channel_id: str, body: ConnectAccount) -> AccountProbe:
        return AccountProbe.model_validate(await self._call("PUT", f"/{channel_id}", caller, body))

    async def activate(self, caller: Caller, channel_id: str) -> AccountHealth:
        return AccountHealth.model_validate(await self._call("POST", f"/{channel_id}/activate", caller))

    async def disable(self, caller: Caller, channel_id: str) -> AccountHealth:
        return AccountHealth.model_validate(await self._call("POST", f"/{channel_id}/disable", caller))

    async def apply_settings(self, caller: Caller, channel_id: str, body: AccountSettings) -> None:
        await self._call("PUT", f"/{channel_id}/settings", caller, body)

    async def rotate_secret(self, caller: Caller, channel_id: str) -> AccountHealth:
        return AccountHealth.model_validate(await self._call("POST", f"/{channel_id}/rotate-secret", caller))

    async def health(self, caller: Caller, channel_id: str) -> AccountHealth:
        return AccountHealth.model_validate(await self._call("GET", f"/{channel_id}/health", caller))

    async def templates(self, caller: Caller, channel_id: str) -> list[MessageTemplate]:
        return _TEMPLATES.validate_python(await self._call("GET", f"/{channel_id}/templates", caller))

    async def forget(self, caller: Caller, channel_id: str) -> None:
        await self._call("DELETE", f"/{channel_id}", caller)

    async def _call(self, method: str, path: str, caller: Caller, body: BaseModel | None = None) -> Any:
        return await self._http.request(method, f"/internal/accounts{path}", caller=caller, json=body)


class Connectors:
    """Clients for connectors, made when their address is known and kept while it stays the same."""

    MAX = 64
    # The messenger itself is asked meanwhile.
    TIMEOUT_SECONDS = 20.0

    def __init__(self, tokens: ServiceTokens, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        """
        Args:
            transport: For tests: a wire of their own.
        """
        self._tokens = tokens
        self._transport = transport
        self._clients: OrderedDict[tuple[str, str], InternalClient] = OrderedDict()

    async def at(self, service: str, internal_url: str) -> Connector:
        key = (service, internal_url)
        client = self._clients.get(key)
        if client is None:
            client = InternalClient(
                internal_url,
                service,
                self._tokens,
                timeout_s=self.TIMEOUT_SECONDS,
                transport=self._transport,
            )
            self._clients[key] = client
            if len(self._clients) > self.MAX:
                _, oldest = self._clients.popitem(last=False)
                await oldest.aclose()
        self._clients.move_to_end(key)
        return Connector(client)

    async def aclose(self) -> None:
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()


class Channels:
    """The channels of the tenants, as inbox knows them: what the one access function decides by."""

    def __init__(self, inbox: Inbox, clock: Callable[[], float]) -> None:
        self._inbox = inbox
        self._clock = clock
        self._known: OrderedDict[str, tuple[float, dict[str, ChannelView]]] = OrderedDict()
        self._asking: dict[str, asyncio.Lock] = {}
        self._version = 0

    async def of(self, tenant_id: str) -> Mapping[str, ChannelView]:
        """All channels of the tenant.

        Raises:
            Problem: inbox does not answer.
        """
        known = self._fresh(tenant_id)
        if known is not None:
            return known
        async with self._asking.setdefault(tenant_id, asyncio.Lock()):
            known = self._fresh(tenant_id)
            if known is not None:
                return known
            version = self._version
            found = {channel.id: channel for channel in await self._inbox.channels(tenant_id)}
            if version == self._version:
                self._known[tenant_id] = (self._clock(), found)
                if len(self._known) > MAX_TENANTS:
                    gone, _ = self._known.popitem(last=False)
                    self._asking.pop(gone, None)
            # Else something changed while we asked: good for this answer, not for the next one.
            return found

    async def allowed(self, session: Session) -> frozenset[str]:
        """The channels this user works with; empty: no access to the chats at all."""
        channels = await self.of(session.tenant_id)
        return allowed_channels(session.roles, {id_: view.settings.roles for id_, view in channels.items()})

    def spoil(self, tenant_id: str) -> None:
        """Something changed: ask again."""
        self._version += 1
        self._known.pop(tenant_id, None)

    def known(self, tenant_id: str, channel_id: str) -> ChannelView | None:
        """The channel as last heard of, without asking."""
        return self._known.get(tenant_id, (0.0, {}))[1].get(channel_id)

    def _fresh(self, tenant_id: str) -> Mapping[str, ChannelView] | None:
        known = self._known.get(tenant_id)
        if known is None or self._clock() - known[0] > CHANNELS_TTL_SECONDS:
            return None
        return known[1]


def not_found() -> Problem:
    """The one answer for what does not exist and for what is somebody else's."""
    return Problem(404, "not_found", "Такого немає.")
