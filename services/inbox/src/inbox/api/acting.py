"""What a viewer does.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.
"""

from collections.abc import Awaitable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Response

from inbox.api.doors import Doorkeeper, Viewer
from inbox.api.shown import Rows, shown
from inbox.channels import ChannelStore
from inbox.conversations import Conversations, Refused
from inbox.domain import (
    Assign,
    Author,
    Button,
    Claim,
    DeleteAnswer,
    Handling,
    Person,
    Place,
    PostReply,
    Release,
    Resolve,
    Retry,
    ReturnToBot,
    SetStatus,
    SharedContact,
    TakeOver,
    Template,
    TemplateValue,
    Upload,
)
from inbox.lists import Lists
from inbox.marks import Marks
from inbox.messages import Messages
from msgkit.contracts import events
from msgkit.contracts.internal_api import (
    AssignRequest,
    ReadMark,
    ReadRequest,
    ResolveRequest,
    SendRequest,
    StatusRequest,
    UnreadRequest,
    UploadedFile,
)
from msgkit.contracts.views import ConversationRow, MessageView, UserRef, ViewerRow
from msgkit.contracts.words import AuthorKind, Status
from msgkit.runtime.problems import Problem

DoneT = TypeVar("DoneT")
IfMatch = Annotated[str | None, Header(max_length=32)]


def dialogue_commands(
    conversations: Conversations,
    marks: Marks,
    lists: Lists,
    channels: ChannelStore,
    rows: Rows,
    doorkeeper: Doorkeeper,
) -> APIRouter:
    """Writing, reading, and who has a chat."""
    router = APIRouter(prefix="/conversations/{conversation_id}")
    InViewer = Annotated[Viewer, Depends(doorkeeper.viewer_of(channels))]  # noqa: N806  # a type

    @router.post("/messages", status_code=202)
    async def post_message(conversation_id: str, body: SendRequest, viewer: InViewer) -> MessageView:
        command = PostReply(
            author=Author(AuthorKind.OPERATOR, viewer.user_id, viewer.name),
            client_msg_id=body.client_msg_id,
            text=body.text,
            attachments=tuple(_upload(file) for file in body.attachments),
            buttons=tuple(
                tuple(Button(button.text, button.action, button.value) for button in row)
                for row in body.buttons
            ),
            place=None if body.place is None else _place(body.place),
            shared_contact=None if body.shared_contact is None else _shared(body.shared_contact),
            template=None if body.template is None else _template(body.template),
            is_reaction=body.is_reaction,
            reply_to=body.reply_to,
            seen_n=body.seen_n,
            force=body.force,
            note=body.note,
        )
        return shown(
            await _allowed(
                rows,
                conversations.post_reply(viewer.tenant_id, conversation_id, command, viewer.allowed),
                viewer,
            )
        )

    @router.post("/read")
    async def read(conversation_id: str, body: ReadRequest, viewer: InViewer) -> ReadMark:
        key = viewer.key(conversation_id)
        mark = await marks.mark_read(key, viewer.user_id, body.n, viewer.allowed)
        return ReadMark(conversation_id=conversation_id, in_seq=mark)

    @router.post("/unread")
    async def unread(conversation_id: str, body: UnreadRequest, viewer: InViewer) -> ReadMark:
        key = viewer.key(conversation_id)
        marking = marks.mark_unread(key, viewer.user_id, body.n, viewer.allowed)
        return ReadMark(conversation_id=conversation_id, in_seq=await _allowed(rows, marking, viewer))

    @router.post("/status")
    async def set_status(
        conversation_id: str, body: StatusRequest, viewer: InViewer, if_match: IfMatch = None
    ) -> ViewerRow:
        return await act(conversation_id, SetStatus(Status(body.status), _me(viewer)), viewer, if_match)

    @router.post("/claim")
    async def claim(conversation_id: str, viewer: InViewer, if_match: IfMatch = None) -> ViewerRow:
        return await act(conversation_id, Claim(_me(viewer)), viewer, if_match)

    @router.post("/takeover")
    async def take_over(conversation_id: str, viewer: InViewer, if_match: IfMatch = None) -> ViewerRow:
        return await act(conversation_id, TakeOver(_me(viewer)), viewer, if_match)

    @router.post("/assign")
    async def assign(
        conversation_id: str, body: AssignRequest, viewer: InViewer, if_match: IfMatch = None
    ) -> ViewerRow:
        command = Assign(to=Person(body.user_id, body.name), by=_me(viewer))
        return await act(conversation_id, command, viewer, if_match)

    @router.post("/release")
    async def release(conversation_id: str, viewer: InViewer, if_match: IfMatch = None) -> ViewerRow:
        return await act(conversation_id, Release(_me(viewer)), viewer, if_match)

    @router.post("/return-to-bot")
    async def return_to_bot(conversation_id: str, viewer: InViewer, if_match: IfMatch = None) -> ViewerRow:
        return await act(conversation_id, ReturnToBot(_me(viewer)), viewer, if_match)

    async def act(conversation_id: str, command: Handling, viewer: Viewer, if_match: str | None) -> ViewerRow:
        acting = conversations.act(
            viewer.tenant_id, conversation_id, command, viewer.allowed, _version(if_match)
        )
        return await rows.with_mark(lists, await _allowed(rows, acting, viewer), viewer)

    return router


def message_commands(
    messages: Messages, channels: ChannelStore, rows: Rows, doorkeeper: Doorkeeper
) -> APIRouter:
    """Mending an answer that did not simply arrive."""
    router = APIRouter(prefix="/messages/{message_id}")
    InViewer = Annotated[Viewer, Depends(doorkeeper.viewer_of(channels))]  # noqa: N806  # a type

    @router.post("/retry")
    async def retry(message_id: str, viewer: InViewer) -> MessageView:
        command = Retry(message_id, _me(viewer))
        return shown(await _allowed(rows, messages.mend(viewer.tenant_id, command, viewer.allowed), viewer))

    @router.post("/resolve")
    async def resolve(message_id: str, body: ResolveRequest, viewer: InViewer) -> MessageView:
        command = Resolve(message_id, body.action, _me(viewer))
        return shown(await _allowed(rows, messages.mend(viewer.tenant_id, command, viewer.allowed), viewer))

    @router.delete("", status_code=204)
    async def delete(message_id: str, viewer: InViewer) -> Response:
        command = DeleteAnswer(message_id, _me(viewer))
        await _allowed(rows, messages.mend(viewer.tenant_id, command, viewer.allowed), viewer)
        return Response(status_code=204)

    return router


async def _allowed(rows: Rows, doing: Awaitable[DoneT], viewer: Viewer) -> DoneT:
    """What was done; a refusal becomes a problem."""
    try:
        return await doing
    except Refused as refused:
        raise _problem(rows, refused, viewer) from refused


def _me(viewer: Viewer) -> Person:
    return Person(viewer.user_id, viewer.name)


def _upload(file: UploadedFile) -> Upload:
    return Upload(
        id=file.upload_id,
        key=file.key,
        thumb_key=file.thumb_key,
        kind=file.kind,
        name=file.name,
        mime=file.mime,
        size=file.size_bytes,
        width=file.width,
        height=file.height,
        duration_s=file.duration_s,
    )


def _place(place: events.Place) -> Place:
    return Place(place.latitude, place.longitude, place.title, place.address)


def _shared(shared: events.SharedContact) -> SharedContact:
    return SharedContact(shared.name, shared.phone, shared.is_own)


def _template(template: events.OrderedTemplate) -> Template:
    values = tuple(TemplateValue(one.part, one.index, one.name, one.value) for one in template.values)
    return Template(template.name, template.language, values)


def _problem(rows: Rows, refused: Refused, viewer: Viewer) -> Problem:
    refusal, state = refused.refusal, refused.state
    extra: dict[str, Any] = {}
    if refusal.status == 409:
        extra["current"] = ConversationRow.model_validate(rows.row(state, viewer))
    if refusal.code == "colleague_replied":
        extra["new_messages"] = [shown(message).model_dump(mode="json") for message in refused.unseen]
    if refusal.holder is not None:
        extra["claimed_by"] = UserRef(id=refusal.holder.id, name=refusal.holder.name)
        extra["claimed_at"] = None if refusal.since is None else refusal.since.isoformat()
    return Problem(refusal.status, refusal.code, refusal.detail, **extra)


def _version(if_match: str | None) -> int | None:
    if if_match is None:
        return None
    text = if_match.strip().strip('"')
    if not text.isdigit():
        raise Problem(422, "invalid", "If-Match має бути версією чату (v).")
    return int(text)
