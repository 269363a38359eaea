"""What an operator does with one message: send it again, decide about it, take it back, ask for its way."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.api.access import Guards, PathId
from gateway.clients import Inbox
from gateway.schemas import EmptyIn, Session
from msgkit.contracts.internal_api import ResolveRequest, Trail
from msgkit.contracts.views import MessageView


def routes(inbox: Inbox, guards: Guards) -> APIRouter:
    router = APIRouter(tags=["messages"])

    @router.post("/messages/{message_id}/retry", status_code=202)
    async def retry(
        message_id: PathId, body: EmptyIn | None = None, session: Session = guards.chat_user
    ) -> MessageView:
        """Send an answer that failed once more."""
        return await inbox.retry(session, message_id)

    @router.post("/messages/{message_id}/resolve")
    async def resolve(
        message_id: PathId, body: ResolveRequest, session: Session = guards.chat_user
    ) -> MessageView:
        """Decide of an answer nobody knows the fate of: it was sent, it failed, or send it again."""
        return await inbox.resolve(session, message_id, body)

    @router.delete("/messages/{message_id}", status_code=204)
    async def withdraw(message_id: PathId, session: Session = guards.chat_user) -> Response:
        """Take back an answer that is not at the messenger."""
        await inbox.withdraw(session, message_id)
        return Response(status_code=204)

    @router.get("/messages/{message_id}/trail")
    async def trail(message_id: PathId, session: Session = guards.chat_user) -> Trail:
        """What happened to the message, step by step."""
        return await inbox.trail(session, message_id)

    return router
