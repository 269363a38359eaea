"""Channels: which messengers there are, connecting an account, changing and removing it."""

from __future__ import annotations

from fastapi import APIRouter, Response

from gateway.api.access import Guards, PathId
from gateway.channel_desk import ChannelDesk
from gateway.schemas import (
    ChannelAdminOut,
    ChannelIn,
    ChannelKindOut,
    ChannelOut,
    ChannelPatchIn,
    Session,
)
from gateway.templates import Templates
from msgkit.contracts.internal_api import AccountHealth, MessageTemplate
from msgkit.runtime.logs import get_logger
from msgkit.runtime.problems import Problem

log = get_logger(__name__)


def routes(desk: ChannelDesk, templates: Templates, guards: Guards) -> APIRouter:
    router = APIRouter(tags=["channels"])
    manifests = desk.manifests

    @router.get("/channel-kinds")
    async def channel_kinds(session: Session = guards.signed_in) -> list[ChannelKindOut]:
        """The messengers that can be connected, as their connectors announce them."""
        return [
            ChannelKindOut(
                kind=known.manifest.kind,
                title=known.manifest.title,
                available=manifests.is_here(known.manifest.kind),
                abilities=known.manifest.abilities,
                limits=manifests.limits(known.manifest.kind),
                limit_units=manifests.limit_units(known.manifest.kind),
                reply_window_hours=known.manifest.reply_window_hours,
                human_reply_window_hours=known.manifest.human_reply_window_hours,
                human_agent_by_default=known.manifest.human_agent_by_default,
                credentials_schema=known.manifest.credentials_schema,
            )
            for known in manifests.all()
        ]

    @router.get("/channels")
    async def list_channels(session: Session = guards.signed_in) -> list[ChannelAdminOut | ChannelOut]:
        """The channels I work with; for an administrator all of the tenant, with their settings."""
        return [desk.shown(session, view) for view in await desk.seen_by(session)]

    @router.get("/channels/{channel_id}")
    async def channel(
        channel_id: PathId, session: Session = guards.signed_in
    ) -> ChannelAdminOut | ChannelOut:
        return desk.shown(session, await desk.channel_of(session, channel_id))

    @router.get("/channels/{channel_id}/health")
    async def health(channel_id: PathId, session: Session = guards.signed_in) -> AccountHealth:
        """Whether the messenger reaches us, asked now."""
        view = await desk.channel_of(session, channel_id)
        return await (await desk.connector_of(view.kind)).health(session.caller, channel_id)

    @router.get("/channels/{channel_id}/templates")
    async def list_templates(
        channel_id: PathId, session: Session = guards.signed_in
    ) -> list[MessageTemplate]:
        """What may be sent when the time to answer is over; a change at the messenger shows in a minute."""
        return await templates.of(session, channel_id)

    @router.post("/channels", status_code=201)
    async def create(body: ChannelIn, session: Session = guards.admin) -> ChannelAdminOut:
        """Connect an account: asked at the messenger first, stored only if it says yes."""
        if manifests.of(body.kind) is None:
            raise Problem(422, "unknown_kind", "Такого месенджера немає. Дивіться GET /channel-kinds.")
        view = await desk.connect(session, body)
        who = {"tenant_id": session.tenant_id, "user_id": session.user_id}
        log.info("channel_created", kind=body.kind, channel_id=view.id, **who)
        return desk.to_admin_out(view)

    @router.patch("/channels/{channel_id}")
    async def change(
        channel_id: PathId, body: ChannelPatchIn, session: Session = guards.admin
    ) -> ChannelAdminOut:
        """Only what is named changes; within `settings` too. New credentials must be of the same account."""
        return desk.to_admin_out(await desk.change(session, channel_id, body))

    @router.post("/channels/{channel_id}/rotate-secret")
    async def rotate_secret(channel_id: PathId, session: Session = guards.admin) -> AccountHealth:
        """A new secret for the webhook; the old one holds while the messenger changes over."""
        return await desk.rotate_secret(session, channel_id)

    @router.delete("/channels/{channel_id}", status_code=204)
    async def delete(channel_id: PathId, session: Session = guards.admin) -> Response:
        """Disconnect the account; the dialogues stay."""
        await desk.delete(session, channel_id)
        return Response(status_code=204)

    return router
