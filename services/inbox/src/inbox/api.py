"""The door for the other services: every `/internal` route of msgkit.contracts.internal_api.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.

What belongs to another tenant, or to a channel the caller's roles do not reach, does not exist: 404.
"""

import asyncio
import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, FastAPI, Header, Query, Response
from starlette.requests import Request

from inbox.conversations import Conversations, NotFound, Refused
from inbox.domain import (
    Author,
    Claim,
    Message,
    Person,
    PostReply,
    SetStatus,
    State,
    message_view,
    row_view,
    unread,
)
from inbox.relay import LiveEpoch
from inbox.store import (
    STORE_TROUBLE,
    AlreadyConnected,
    ChannelBook,
    ChannelRecord,
    Key,
    Position,
    RowsQuery,
    Store,
    channel_fields,
)
from msgkit.contracts import internal_api
from msgkit.contracts.access import ADMIN, allowed_channels
from msgkit.contracts.internal_api import (
    ChannelPatch,
    ChannelState,
    MessagesPage,
    Overview,
    ReadMark,
    ReadRequest,
    RowsPage,
    SendRequest,
    StatusRequest,
    StoreChannel,
)
from msgkit.contracts.views import ChannelView, ConversationRow, Counters, MessageView, RequestRef, ViewerRow
from msgkit.contracts.words import AuthorKind, ChatList, Status
from msgkit.runtime.bus import AMQP_ERRORS, PublishUnknown
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller

BODY_LIMIT_BYTES: Final = 256 * 1024
COUNTED: Final = (ChatList.ACTIVE, ChatList.MINE, ChatList.NEW, ChatList.BOT, ChatList.WAITING)
_SEAL_BYTES: Final = 12

Limit = Annotated[int, Query(ge=1, le=100)]
MessageId = Annotated[str | None, Query(max_length=64)]
CallerOf = Callable[[Request], Awaitable[Caller]]


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person behind a call, with the channels they may see."""

    tenant_id: str
    user_id: str
    name: str
    channels: dict[str, ChannelRecord]

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(self.channels)

    def key(self, conversation_id: str) -> Key:
        return Key(self.tenant_id, conversation_id)

    def title(self, channel_id: str) -> str:
        channel = self.channels.get(channel_id)
        return "" if channel is None else channel.view.title


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Finds who calls, from the service token."""

    gateway: CallerOf
    """Admits only the gateway."""
    any_service: CallerOf
    """Admits every service we know."""

    def viewer_of(self, store: Store) -> Callable[[Caller], Awaitable[Viewer]]:
        """A dependency: the person behind a call of the gateway."""

        async def viewer_of(caller: Annotated[Caller, Depends(self.gateway)]) -> Viewer:
            if caller.tenant_id is None or caller.user_id is None:
                raise Problem(403, "user_required", "Цей виклик потребує користувача в токені.")
            records = await store.channels(caller.tenant_id)
            allowed = allowed_channels(
                caller.roles, {record.view.id: record.view.settings.roles for record in records}
            )
            return Viewer(
                caller.tenant_id,
                caller.user_id,
                caller.user_name or caller.user_id,
                {record.view.id: record for record in records if record.view.id in allowed},
            )

        return viewer_of


def routes(
    conversations: Conversations,
    store: Store,
    channels: ChannelBook,
    live: LiveEpoch,
    doorkeeper: Doorkeeper,
    cursor_key: bytes,
) -> APIRouter:
    """
    Args:
        cursor_key: seals the cursors of lists.
    """
    router = APIRouter(prefix="/internal")
    router.include_router(_reading(conversations, store, live, doorkeeper, cursor_key))
    router.include_router(_acting(conversations, store, doorkeeper))
    router.include_router(_channels(conversations, store, channels, doorkeeper))
    router.include_router(_live(live, doorkeeper))
    return router


def _reading(
    conversations: Conversations, store: Store, live: LiveEpoch, doorkeeper: Doorkeeper, cursor_key: bytes
) -> APIRouter:
    """What a viewer sees."""
    router = APIRouter()
    InViewer = Annotated[Viewer, Depends(doorkeeper.viewer_of(store))]  # noqa: N806  # a type

    @router.get("/overview")
    async def overview(viewer: InViewer) -> Overview:
        return Overview(
            channels=[record.view for record in viewer.channels.values()],
            counters=await _counters(store, viewer),
            epoch=await live.current(),
        )

    @router.get("/counters")
    async def counters(viewer: InViewer) -> Counters:
        return await _counters(store, viewer)

    @router.get("/conversations")
    async def list_conversations(
        viewer: InViewer,
        list_: Annotated[ChatList, Query(alias="list")] = ChatList.ACTIVE,
        channel: Annotated[str | None, Query(max_length=64)] = None,
        assignee: Annotated[str | None, Query(max_length=64)] = None,
        q: Annotated[str | None, Query(max_length=100)] = None,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        limit: Limit = 50,
    ) -> RowsPage:
        seal = _Seal(cursor_key, viewer, list_, channel, assignee, q)
        wanted = RowsQuery(
            channels=viewer.allowed if channel is None else viewer.allowed & {channel},
            chat_list=list_,
            viewer_id=viewer.user_id,
            assignee_id=assignee,
            words=q.strip() or None if q is not None else None,
            after=None if cursor is None else seal.open(cursor),
            limit=limit + 1,
        )
        states = await store.rows(viewer.tenant_id, wanted)
        page = states[:limit]
        marks = await store.marks(viewer.tenant_id, viewer.user_id, [state.id for state in page])
        return RowsPage(
            items=[_viewer_row(state, viewer, marks.get(state.id, 0)) for state in page],
            next_cursor=seal.close(page[-1]) if len(states) > limit else None,
        )

    @router.get("/conversations/{conversation_id}")
    async def get_conversation(conversation_id: str, viewer: InViewer) -> ViewerRow:
        state = await conversations.row(viewer.key(conversation_id), viewer.allowed)
        return await _row_with_mark(store, state, viewer)

    @router.get("/conversations/{conversation_id}/messages")
    async def list_messages(
        conversation_id: str,
        viewer: InViewer,
        before: MessageId = None,
        after: MessageId = None,
        around: MessageId = None,
        limit: Limit = 50,
    ) -> MessagesPage:
        if sum(anchor is not None for anchor in (before, after, around)) > 1:
            raise Problem(422, "invalid", "Вкажіть лише один із before, after, around.")
        key = viewer.key(conversation_id)
        dialogue = await conversations.dialogue(key)
        if dialogue.state is None or dialogue.state.channel_id not in viewer.allowed:
            raise NotFound
        pages = _Pages(store, key, dialogue.newer, limit)
        if after is not None:
            return await pages.after(after)
        if around is not None:
            return await pages.around(around)
        return await pages.before(before)

    @router.get("/conversations/{conversation_id}/requests")
    async def list_requests(conversation_id: str, viewer: InViewer) -> list[RequestRef]:
        key = viewer.key(conversation_id)
        await conversations.row(key, viewer.allowed)
        return [RequestRef.model_validate(row) for row in await store.requests(key)]

    return router


def _acting(conversations: Conversations, store: Store, doorkeeper: Doorkeeper) -> APIRouter:
    """What a viewer does."""
    router = APIRouter()
    InViewer = Annotated[Viewer, Depends(doorkeeper.viewer_of(store))]  # noqa: N806  # a type

    @router.post("/conversations/{conversation_id}/messages", status_code=202)
    async def post_message(conversation_id: str, body: SendRequest, viewer: InViewer) -> MessageView:
        command = PostReply(
            author=Author(AuthorKind.OPERATOR, viewer.user_id, viewer.name),
            client_msg_id=body.client_msg_id,
            text=body.text,
            reply_to=body.reply_to,
            seen_n=body.seen_n,
            force=body.force,
            note=body.note,
        )
        try:
            message = await conversations.post_reply(
                viewer.tenant_id, conversation_id, command, viewer.allowed
            )
        except Refused as refused:
            raise _problem(refused, viewer) from refused
        return _message(message)

    @router.post("/conversations/{conversation_id}/read")
    async def read(conversation_id: str, body: ReadRequest, viewer: InViewer) -> ReadMark:
        key = viewer.key(conversation_id)
        mark = await conversations.mark_read(key, viewer.user_id, body.n, viewer.allowed)
        return ReadMark(conversation_id=conversation_id, in_seq=mark)

    @router.post("/conversations/{conversation_id}/status")
    async def set_status(
        conversation_id: str,
        body: StatusRequest,
        viewer: InViewer,
        if_match: Annotated[str | None, Header(max_length=32)] = None,
    ) -> ViewerRow:
        command = SetStatus(Status(body.status), Person(viewer.user_id, viewer.name))
        return await act(conversation_id, command, viewer, if_match)

    @router.post("/conversations/{conversation_id}/claim")
    async def claim(
        conversation_id: str,
        viewer: InViewer,
        if_match: Annotated[str | None, Header(max_length=32)] = None,
    ) -> ViewerRow:
        return await act(conversation_id, Claim(Person(viewer.user_id, viewer.name)), viewer, if_match)

    async def act(
        conversation_id: str, command: SetStatus | Claim, viewer: Viewer, if_match: str | None
    ) -> ViewerRow:
        try:
            state = await conversations.act(
                viewer.tenant_id, conversation_id, command, viewer.allowed, _version(if_match)
            )
        except Refused as refused:
            raise _problem(refused, viewer) from refused
        return await _row_with_mark(store, state, viewer)

    return router


def _channels(
    conversations: Conversations, store: Store, channels: ChannelBook, doorkeeper: Doorkeeper
) -> APIRouter:
    """Channels: read by the gateway for every check, changed by administrators."""
    router = APIRouter()

    async def tenant_of(caller: Annotated[Caller, Depends(doorkeeper.gateway)]) -> str:
        return _tenant(caller)

    async def administered_tenant(caller: Annotated[Caller, Depends(doorkeeper.gateway)]) -> str:
        if ADMIN not in caller.roles:
            raise Problem(403, "role_required", "Каналами керує адміністратор.")
        return _tenant(caller)

    async def any_tenant(caller: Annotated[Caller, Depends(doorkeeper.any_service)]) -> str:
        return _tenant(caller)

    async def tell(record: ChannelRecord | None) -> ChannelView:
        if record is None:
            raise NotFound
        view = record.view
        channels.forget(view.id)
        await conversations.tell_beside(
            record.tenant_id, view.id, "channel.updated", view.model_dump(mode="json")
        )
        return view

    @router.get("/channels")
    async def list_channels(tenant_id: Annotated[str, Depends(tenant_of)]) -> list[ChannelView]:
        return [record.view for record in await store.channels(tenant_id)]

    @router.put("/channels/{channel_id}")
    async def put_channel(
        channel_id: str, body: StoreChannel, tenant_id: Annotated[str, Depends(administered_tenant)]
    ) -> ChannelView:
        fields = channel_fields(
            title=body.title,
            settings=body.settings,
            kind=body.kind,
            account_name=body.account_name,
            credentials_hint=body.credentials_hint,
            webhook_url=body.webhook_url,
        )
        try:
            record = await store.put_channel(tenant_id, channel_id, body.account_id, fields)
        except AlreadyConnected as exc:
            raise Problem(409, "already_connected", "Цей акаунт уже підключено як канал.") from exc
        return await tell(record)

    @router.patch("/channels/{channel_id}")
    async def patch_channel(
        channel_id: str, body: ChannelPatch, tenant_id: Annotated[str, Depends(administered_tenant)]
    ) -> ChannelView:
        fields = channel_fields(title=body.title, settings=body.settings)
        return await tell(await store.change_channel(tenant_id, channel_id, fields))

    @router.post("/channels/{channel_id}/state")
    async def set_channel_state(
        channel_id: str, body: ChannelState, tenant_id: Annotated[str, Depends(any_tenant)]
    ) -> ChannelView:
        fields = channel_fields(state=body.state, connected=body.connected, problem=body.problem)
        return await tell(await store.change_channel(tenant_id, channel_id, fields))

    @router.delete("/channels/{channel_id}", status_code=204)
    async def delete_channel(
        channel_id: str, tenant_id: Annotated[str, Depends(administered_tenant)]
    ) -> Response:
        await tell(await store.remove_channel(tenant_id, channel_id))
        return Response(status_code=204)

    return router


def _live(live: LiveEpoch, doorkeeper: Doorkeeper) -> APIRouter:
    """Which stream the gateways read."""
    router = APIRouter(dependencies=[Depends(doorkeeper.any_service)])

    @router.get("/live")
    async def live_epoch() -> internal_api.LiveEpoch:
        return internal_api.LiveEpoch(epoch=await live.current())

    @router.post("/live/renew")
    async def renew_live(body: internal_api.LiveEpoch) -> internal_api.LiveEpoch:
        return internal_api.LiveEpoch(epoch=await live.renew(body.epoch))

    return router


def install_error_handlers(app: FastAPI) -> None:
    """What the use cases raise, as problems."""

    async def on_not_found(_request: Request, _error: Exception) -> Response:
        return Problem(404, "not_found", "Немає такого шляху або обʼєкта.").response()

    async def on_unavailable(_request: Request, _error: Exception) -> Response:
        detail = "База або брокер зараз недоступні. Повторіть за мить з тим самим ключем."
        return Problem(503, "unavailable", detail, headers={"Retry-After": "1"}).response()

    app.add_exception_handler(NotFound, on_not_found)
    for trouble in (*STORE_TROUBLE, PublishUnknown, *AMQP_ERRORS):
        app.add_exception_handler(trouble, on_unavailable)


class _Seal:
    """Cursors nobody can make or carry over to another list: 422 for those."""

    def __init__(self, key: bytes, viewer: Viewer, *filters: str | None) -> None:
        self._key = key
        self._scope = json.dumps([viewer.tenant_id, viewer.user_id, *filters])

    def close(self, row: State) -> str:
        assert row.activity_at is not None
        position = json.dumps([int(row.activity_at.timestamp() * 1000), row.id]).encode()
        return base64.urlsafe_b64encode(self._sign(position) + position).decode().rstrip("=")

    def open(self, cursor: str) -> tuple[datetime, str]:
        wrong = Problem(422, "invalid_cursor", "Курсор не з цього списку. Почніть список спочатку.")
        try:
            sealed = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as exc:
            raise wrong from exc
        signature, position = sealed[:_SEAL_BYTES], sealed[_SEAL_BYTES:]
        if not hmac.compare_digest(signature, self._sign(position)):
            raise wrong
        at_ms, id_ = json.loads(position)
        return datetime.fromtimestamp(at_ms / 1000, UTC), id_

    def _sign(self, position: bytes) -> bytes:
        words = self._scope.encode() + b"\x1f" + position
        return hmac.digest(self._key, words, hashlib.sha256)[:_SEAL_BYTES]


class _Pages:
    """Pages of one dialogue, the projection with what is newer merged in."""

    def __init__(self, store: Store, key: Key, newer: Mapping[str, Message], limit: int) -> None:
        self._store = store
        self._key = key
        self._newer = newer
        self._limit = limit

    async def before(self, anchor_id: str | None) -> MessagesPage:
        anchor = None if anchor_id is None else await self._anchor(anchor_id)
        items, has_before = await self._before(anchor, self._limit)
        return _page(items, has_before, anchor is not None)

    async def after(self, anchor_id: str) -> MessagesPage:
        items, has_after = await self._after(await self._anchor(anchor_id), self._limit)
        return _page(items, True, has_after)

    async def around(self, anchor_id: str) -> MessagesPage:
        anchor = await self._anchor(anchor_id)
        half = self._limit // 2
        # The anchor itself is the first after the position right before it.
        following, has_after = await self._after(Position(anchor.pos_at, anchor.n - 1), self._limit - half)
        preceding, has_before = await self._before(anchor, half) if half else ([], True)
        return _page([*preceding, *following], has_before, has_after)

    async def _anchor(self, message_id: str) -> Position:
        newer = self._newer.get(message_id)
        if newer is not None:
            return _position(newer)
        found = await self._store.position(self._key, message_id)
        if found is None:
            raise Problem(422, "invalid_cursor", "У цьому чаті немає такого повідомлення.")
        return found

    async def _before(self, anchor: Position | None, limit: int) -> tuple[list[Message], bool]:
        stored = await self._store.page_before(self._key, anchor, limit + 1)
        is_full = len(stored) > limit
        oldest = _position(stored[0]) if is_full else None
        items = self._merged(
            stored,
            lambda at: (anchor is None or at < anchor) and (oldest is None or at > oldest),
        )
        return items[-limit:], len(items) > limit

    async def _after(self, anchor: Position, limit: int) -> tuple[list[Message], bool]:
        stored = await self._store.page_after(self._key, anchor, limit + 1)
        newest = _position(stored[-1]) if len(stored) > limit else None
        items = self._merged(stored, lambda at: at > anchor and (newest is None or at < newest))
        return items[:limit], len(items) > limit

    def _merged(self, stored: Sequence[Message], within: Callable[[Position], bool]) -> list[Message]:
        merged = {message.id: self._newer.get(message.id, message) for message in stored}
        merged |= {id_: message for id_, message in self._newer.items() if within(_position(message))}
        return sorted(merged.values(), key=_position)


def _position(message: Message) -> Position:
    return Position(message.pos_at, message.n)


def _page(items: Sequence[Message], has_before: bool, has_after: bool) -> MessagesPage:
    return MessagesPage(
        items=[_message(message) for message in items], has_before=has_before, has_after=has_after
    )


def _message(message: Message) -> MessageView:
    return MessageView.model_validate(message_view(message))


def _viewer_row(state: State, viewer: Viewer, mark: int, first_unread: str | None = None) -> ViewerRow:
    return ViewerRow.model_validate(
        {
            **row_view(state, viewer.title(state.channel_id)),
            "unread": unread(state, mark),
            "mark_in_seq": mark,
            "first_unread_id": first_unread,
        }
    )


async def _row_with_mark(store: Store, state: State, viewer: Viewer) -> ViewerRow:
    mark = (await store.marks(viewer.tenant_id, viewer.user_id, [state.id])).get(state.id, 0)
    first = None
    if unread(state, mark):
        first = await store.first_unread(viewer.key(state.id), max(mark, state.answered_seq))
    return _viewer_row(state, viewer, mark, first)


async def _counters(store: Store, viewer: Viewer) -> Counters:
    async with asyncio.TaskGroup() as group:
        counts = {
            list_: group.create_task(store.count(viewer.tenant_id, viewer.allowed, list_, viewer.user_id))
            for list_ in COUNTED
        }
        blue = group.create_task(store.count_unread(viewer.tenant_id, viewer.allowed, viewer.user_id))
    lists = {list_.value: task.result() for list_, task in counts.items()}
    return Counters(lists=lists, red=lists[ChatList.ACTIVE.value], blue=blue.result())


def _problem(refused: Refused, viewer: Viewer) -> Problem:
    refusal, state = refused.refusal, refused.state
    extra: dict[str, Any] = {}
    if refusal.status == 409:
        extra["current"] = ConversationRow.model_validate(row_view(state, viewer.title(state.channel_id)))
    if refusal.code == "colleague_replied":
        extra["new_messages"] = [_message(message).model_dump(mode="json") for message in refused.unseen]
    return Problem(refusal.status, refusal.code, refusal.detail, **extra)


def _tenant(caller: Caller) -> str:
    if caller.tenant_id is None:
        raise Problem(403, "tenant_required", "Цей виклик потребує компанії в токені.")
    return caller.tenant_id


def _version(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    text = if_match.strip().strip('"')
    if not text.isdigit():
        raise Problem(422, "invalid", "If-Match має бути версією чату (v).")
    return int(text)
