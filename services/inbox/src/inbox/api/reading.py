"""What a viewer sees.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from inbox.api.doors import Doorkeeper, Viewer
from inbox.api.pages import Pages, Seal
from inbox.api.shown import Rows, counters_of
from inbox.channels import ChannelStore
from inbox.conversations import Conversations, NotFound
from inbox.lists import Lists, RowsQuery
from inbox.live_epoch import LiveEpoch
from inbox.messages import Messages
from msgkit.contracts.internal_api import MediaRecord, MessagesPage, Overview, RowsPage, Trail
from msgkit.contracts.views import Counters, RequestRef, ViewerRow
from msgkit.contracts.words import AttachmentState, ChatList
from msgkit.runtime.problems import Problem

Limit = Annotated[int, Query(ge=1, le=100)]
MessageId = Annotated[str | None, Query(max_length=64)]


def dialogues(
    conversations: Conversations,
    lists: Lists,
    channels: ChannelStore,
    live: LiveEpoch,
    rows: Rows,
    doorkeeper: Doorkeeper,
    cursor_key: bytes,
) -> APIRouter:
    """
    Args:
        cursor_key: seals the cursors of lists.
    """
    router = APIRouter()
    InViewer = Annotated[Viewer, Depends(doorkeeper.viewer_of(channels))]  # noqa: N806  # a type

    @router.get("/overview")
    async def overview(viewer: InViewer) -> Overview:
        return Overview(
            channels=[record.view for record in viewer.channels.values()],
            counters=await counters_of(lists, viewer),
            epoch=await live.current(),
        )

    @router.get("/counters")
    async def counters(viewer: InViewer) -> Counters:
        return await counters_of(lists, viewer)

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
        seal = Seal(cursor_key, viewer, list_, channel, assignee, q)
        wanted = RowsQuery(
            channels=viewer.allowed if channel is None else viewer.allowed & {channel},
            chat_list=list_,
            viewer_id=viewer.user_id,
            assignee_id=assignee,
            words=q.strip() or None if q is not None else None,
            after=None if cursor is None else seal.open(cursor),
            limit=limit + 1,
        )
        states = await lists.rows(viewer.tenant_id, wanted)
        page = states[:limit]
        marks = await lists.marks(viewer.tenant_id, viewer.user_id, [state.id for state in page])
        return RowsPage(
            items=[rows.viewer_row(state, viewer, marks.get(state.id, 0)) for state in page],
            next_cursor=seal.close(page[-1]) if len(states) > limit else None,
        )

    @router.get("/conversations/{conversation_id}")
    async def get_conversation(conversation_id: str, viewer: InViewer) -> ViewerRow:
        state = await conversations.row(viewer.key(conversation_id), viewer.allowed)
        return await rows.with_mark(lists, state, viewer)

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
        pages = Pages(lists, key, dialogue.newer, limit)
        if after is not None:
            return await pages.after(after)
        if around is not None:
            return await pages.around(around)
        return await pages.before(before)

    @router.get("/conversations/{conversation_id}/requests")
    async def list_requests(conversation_id: str, viewer: InViewer) -> list[RequestRef]:
        key = viewer.key(conversation_id)
        await conversations.row(key, viewer.allowed)
        return [RequestRef.model_validate(row) for row in await lists.requests(key)]

    return router


def pieces(messages: Messages, channels: ChannelStore, doorkeeper: Doorkeeper) -> APIRouter:
    """What is known of one message, and where one file lies."""
    router = APIRouter()
    InViewer = Annotated[Viewer, Depends(doorkeeper.viewer_of(channels))]  # noqa: N806  # a type

    @router.get("/messages/{message_id}/trail")
    async def get_trail(message_id: str, viewer: InViewer) -> Trail:
        return await messages.trail(viewer.tenant_id, message_id, viewer.allowed)

    @router.get("/media/{attachment_id}")
    async def get_media(attachment_id: str, viewer: InViewer) -> MediaRecord:
        file = await messages.file(viewer.tenant_id, attachment_id, viewer.allowed)
        if file.state is AttachmentState.LOST:
            raise Problem(409, "media_lost", "Файл втрачено. Попросіть клієнта надіслати його ще раз.")
        if file.key is None:
            raise Problem(409, "media_pending", "Файл ще завантажується з месенджера. Зачекайте трохи.")
        return MediaRecord(
            attachment_id=file.id,
            key=file.key,
            thumb_key=file.thumb_key,
            kind=file.kind,
            name=file.name,
            mime=file.mime or "application/octet-stream",
            size_bytes=file.size or 0,
        )

    return router
