"""The door for the other services: every `/internal` route of msgkit.contracts.internal_api.

What belongs to another tenant, or to a channel the caller's roles do not reach, does not exist: 404.
"""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, FastAPI, Response
from starlette.requests import Request

from inbox.api.acting import dialogue_commands, message_commands
from inbox.api.channels import channel_routes
from inbox.api.doors import Doorkeeper
from inbox.api.live import live_routes
from inbox.api.reading import dialogues, pieces
from inbox.api.shown import Rows
from inbox.conversations import Conversations, NotFound
from inbox.desk import ChannelDesk
from inbox.lists import Lists
from inbox.live_epoch import LiveEpoch
from inbox.marks import Marks
from inbox.messages import Messages
from inbox.store import STORE_TROUBLE
from msgkit.runtime.bus import AMQP_ERRORS, PublishUnknown
from msgkit.runtime.problems import Problem

__all__ = ["BODY_LIMIT_BYTES", "Doorkeeper", "Rows", "install_error_handlers", "routes"]

BODY_LIMIT_BYTES: Final = 256 * 1024


def routes(
    conversations: Conversations,
    messages: Messages,
    marks: Marks,
    lists: Lists,
    desk: ChannelDesk,
    live: LiveEpoch,
    rows: Rows,
    doorkeeper: Doorkeeper,
    cursor_key: bytes,
) -> APIRouter:
    """
    Args:
        cursor_key: seals the cursors of lists.
    """
    channels = desk.store
    router = APIRouter(prefix="/internal")
    router.include_router(dialogues(conversations, lists, channels, live, rows, doorkeeper, cursor_key))
    router.include_router(pieces(messages, channels, doorkeeper))
    router.include_router(dialogue_commands(conversations, marks, lists, channels, rows, doorkeeper))
    router.include_router(message_commands(messages, channels, rows, doorkeeper))
    router.include_router(channel_routes(desk, doorkeeper))
    router.include_router(live_routes(live, doorkeeper))
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
