"""Conversations and their messages; inbox decides who may see which and what may be done."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from opentelemetry.trace import SpanKind

from gateway.api.access import ID_PATTERN, Guards, PathId
from gateway.clients import Inbox
from gateway.colleagues import Colleagues
from gateway.presence import Presence
from gateway.schemas import AssignIn, EmptyIn, SendIn, Session
from gateway.templates import Templates
from gateway.uploads import Uploads
from msgkit.contracts.internal_api import (
    AssignRequest,
    MessagesPage,
    ReadMark,
    ReadRequest,
    RowsPage,
    SendRequest,
    StatusRequest,
    UnreadRequest,
)
from msgkit.contracts.views import MessageView, RequestRef, ViewerRow
from msgkit.contracts.words import ChatList
from msgkit.runtime.problems import Problem
from msgkit.runtime.telemetry import span

QueryId = Annotated[str | None, Query(pattern=ID_PATTERN)]
Limit = Annotated[int, Query(ge=1, le=100)]
IfMatch = Annotated[str | None, Header(alias="If-Match", pattern=r'^"?\d{1,16}"?$')]


def routes(
    inbox: Inbox,
    uploads: Uploads,
    templates: Templates,
    colleagues: Colleagues,
    presence: Presence,
    guards: Guards,
) -> APIRouter:
    router = APIRouter(tags=["conversations"])

    @router.get("/conversations")
    async def conversations(
        list_: Annotated[ChatList, Query(alias="list")] = ChatList.ACTIVE,
        channel: QueryId = None,
        assignee: QueryId = None,
        q: Annotated[str | None, Query(max_length=100)] = None,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        limit: Limit = 50,
        session: Session = guards.chat_user,
    ) -> RowsPage:
        """A page of one list, the latest activity first."""
        query = {
            "list": list_.value,
            "channel": channel,
            "assignee": assignee,
            "q": q,
            "cursor": cursor,
            "limit": str(limit),
        }
        return await inbox.conversations(session, _given(query))

    @router.get("/conversations/{conversation_id}")
    async def conversation(conversation_id: PathId, session: Session = guards.chat_user) -> ViewerRow:
        return await inbox.conversation(session, conversation_id)

    @router.get("/conversations/{conversation_id}/messages")
    async def messages(
        conversation_id: PathId,
        before: QueryId = None,
        after: QueryId = None,
        around: QueryId = None,
        limit: Limit = 50,
        session: Session = guards.chat_user,
    ) -> MessagesPage:
        """A page of the dialogue, ascending; without before, after or around: its end."""
        if sum(value is not None for value in (before, after, around)) > 1:
            raise Problem(422, "invalid", "Вкажіть лише одне з before, after, around.")
        query = {"before": before, "after": after, "around": around, "limit": str(limit)}
        return await inbox.messages(session, conversation_id, _given(query))

    @router.get("/conversations/{conversation_id}/requests")
    async def requests(conversation_id: PathId, session: Session = guards.chat_user) -> list[RequestRef]:
        """The requests (звернення) of the conversation."""
        return await inbox.requests(session, conversation_id)

    @router.post("/conversations/{conversation_id}/messages", status_code=202)
    async def send(conversation_id: PathId, body: SendIn, session: Session = guards.chat_user) -> MessageView:
        """Order an answer. The same `client_msg_id` gives the same message.

        `attachments` are ids of `POST /uploads`; `text` may be empty then. A colleague's answer after
        `seen_n` is 409 with what is new, unless `force`. Where the time to answer is over, 409
        `window_closed`: only a `template` may go then.
        """
        filled = None
        if body.template is not None:
            if body.text or body.attachments or body.note:
                raise Problem(422, "invalid", "Шаблон надсилають окремо: без text, attachments і note.")
            row = await inbox.conversation(session, conversation_id)
            filled = await templates.filled(session, row.channel.id, body.template)
        order = SendRequest(
            client_msg_id=body.client_msg_id,
            text=body.text if filled is None else filled.text,
            attachments=await uploads.resolve(session, body.attachments),
            template=None if filled is None else filled.order,
            reply_to=body.reply_to,
            seen_n=body.seen_n,
            force=body.force,
            note=body.note,
        )
        # The trace of the answer begins here; what a caller from outside says of traces is not believed.
        with span("message.send", kind=SpanKind.SERVER, attributes={"conversation_id": conversation_id}):
            try:
                return await inbox.send(session, conversation_id, order)
            except Problem as exc:
                raise _for_window(exc) from exc

    @router.post("/conversations/{conversation_id}/read")
    async def read(
        conversation_id: PathId, body: ReadRequest, session: Session = guards.chat_user
    ) -> ReadMark:
        """I have read up to message `n`; marks only rise."""
        return await inbox.read(session, conversation_id, body)

    @router.post("/conversations/{conversation_id}/unread")
    async def unread(
        conversation_id: PathId, body: UnreadRequest, session: Session = guards.chat_user
    ) -> ReadMark:
        """Unread for me again, from message `n` on."""
        return await inbox.unread(session, conversation_id, body)

    @router.post("/conversations/{conversation_id}/status")
    async def status(
        conversation_id: PathId,
        body: StatusRequest,
        if_match: IfMatch = None,
        session: Session = guards.chat_user,
    ) -> ViewerRow:
        """Open, put on hold or close."""
        return await inbox.act(session, conversation_id, "status", if_match, body)

    @router.post("/conversations/{conversation_id}/claim")
    async def claim(
        conversation_id: PathId,
        body: EmptyIn | None = None,
        if_match: IfMatch = None,
        session: Session = guards.chat_user,
    ) -> ViewerRow:
        """Take the chat to myself; 409 `claimed_by_other` with the row if a colleague has it."""
        return await inbox.act(session, conversation_id, "claim", if_match)

    @router.post("/conversations/{conversation_id}/takeover")
    async def takeover(
        conversation_id: PathId,
        body: EmptyIn | None = None,
        if_match: IfMatch = None,
        session: Session = guards.chat_user,
    ) -> ViewerRow:
        """Take the dialogue over from the bot."""
        return await inbox.act(session, conversation_id, "takeover", if_match)

    @router.post("/conversations/{conversation_id}/assign")
    async def assign(
        conversation_id: PathId,
        body: AssignIn,
        if_match: IfMatch = None,
        session: Session = guards.chat_user,
    ) -> ViewerRow:
        """Hand the chat to a colleague who works with its channel."""
        row = await inbox.conversation(session, conversation_id)
        colleague = await colleagues.who_may_have(session, body.user_id, row.channel.id)
        wanted = AssignRequest(user_id=colleague.id, name=colleague.name)
        return await inbox.act(session, conversation_id, "assign", if_match, wanted)

    @router.post("/conversations/{conversation_id}/release")
    async def release(
        conversation_id: PathId,
        body: EmptyIn | None = None,
        if_match: IfMatch = None,
        session: Session = guards.chat_user,
    ) -> ViewerRow:
        """Give the chat up: it is nobody's then."""
        return await inbox.act(session, conversation_id, "release", if_match)

    @router.post("/conversations/{conversation_id}/return-to-bot")
    async def return_to_bot(
        conversation_id: PathId,
        body: EmptyIn | None = None,
        if_match: IfMatch = None,
        session: Session = guards.chat_user,
    ) -> ViewerRow:
        """Give the dialogue back to the bot."""
        return await inbox.act(session, conversation_id, "return-to-bot", if_match)

    @router.post("/conversations/{conversation_id}/typing", status_code=204)
    async def typing(
        conversation_id: PathId, body: EmptyIn | None = None, session: Session = guards.chat_user
    ) -> Response:
        """Tell colleagues that I write here; for callers without a socket. Lost ones are not repeated."""
        row = await inbox.conversation(session, conversation_id)
        presence.typing_at(session, conversation_id, row.channel.id)
        return Response(status_code=204)

    return router


def _given(query: dict[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in query.items() if value is not None}


def _for_window(problem: Problem) -> Problem:
    """`colleague_replied` names what is new `messages`, as everywhere in this API."""
    if problem.code != "colleague_replied" or "new_messages" not in problem.extra:
        return problem
    extra = {name: value for name, value in problem.extra.items() if name != "new_messages"}
    return Problem(
        problem.status,
        problem.code,
        problem.detail,
        headers=problem.headers,
        messages=problem.extra["new_messages"],
        **extra,
    )
