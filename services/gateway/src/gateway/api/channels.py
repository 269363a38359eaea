"""Channels: which messengers there are, connecting an account in three steps, changing and removing it."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import APIRouter, Response

from gateway.api.access import Guards, PathId
from gateway.clients import Channels, Connector, Connectors, Inbox, not_found
from gateway.consumers import Manifests
from gateway.live import to_channel_out
from gateway.schemas import (
    ChannelAdminOut,
    ChannelIn,
    ChannelKindOut,
    ChannelOut,
    ChannelPatchIn,
    Session,
)
from msgkit.contracts.access import may_see
from msgkit.contracts.ids import new_id
from msgkit.contracts.internal_api import (
    AccountHealth,
    AccountProbe,
    ChannelPatch,
    ChannelState,
    ConnectAccount,
    StoreChannel,
)
from msgkit.contracts.views import ChannelSettings, ChannelView
from msgkit.runtime.logs import get_logger
from msgkit.runtime.problems import Problem

log = get_logger(__name__)

COMPENSATE_TRIES = 3


@dataclass(frozen=True, slots=True)
class ChannelDesk:
    """What the routes of channels work with."""

    inbox: Inbox
    channels: Channels
    manifests: Manifests
    connectors: Connectors

    async def connector_of(self, kind: str) -> Connector:
        known = self.manifests.of(kind)
        if known is None:
            detail = "Цей месенджер зараз недоступний. Спробуйте за хвилину."
            raise Problem(503, "connector_away", detail, headers={"Retry-After": "30"})
        return await self.connectors.at(known.manifest.service, known.internal_url)

    async def channel_of(self, session: Session, channel_id: str) -> ChannelView:
        """A channel this user works with or administers; anything else does not exist."""
        view = (await self.channels.of(session.tenant_id)).get(channel_id)
        if view is None or not _is_for(session, view):
            raise not_found()
        return view

    async def seen_by(self, session: Session) -> list[ChannelView]:
        known = (await self.channels.of(session.tenant_id)).values()
        seen = (view for view in known if _is_for(session, view))
        return sorted(seen, key=lambda view: (view.created_at, view.id))

    def shown(self, session: Session, view: ChannelView) -> ChannelOut:
        return self.to_admin_out(view) if session.is_admin else to_channel_out(view, self.manifests)

    def to_admin_out(self, view: ChannelView) -> ChannelAdminOut:
        return ChannelAdminOut(
            **dict(to_channel_out(view, self.manifests)),
            state=view.state,
            account_name=view.account_name,
            credentials_hint=view.credentials_hint,
            webhook_url=view.webhook_url,
            settings=view.settings,
            created_at=view.created_at,
            rev=view.rev,
        )

    async def connect(self, session: Session, body: ChannelIn) -> ChannelView:
        """The three steps: probe and store pending, store the settings, register the webhook.

        Raises:
            Problem: the reason of whoever refused; nothing half-created stays.
        """
        connector = await self.connector_of(body.kind)
        channel_id = new_id()
        account = ConnectAccount(
            kind=body.kind,
            tenant_id=session.tenant_id,
            credentials={name: value.get_secret_value() for name, value in body.credentials.items()},
            api_base=body.api_base,
        )
        view: ChannelView | None = None
        try:
            probe = await connector.connect(session, channel_id, account)
            await self.inbox.store_channel(session, channel_id, _stored(body, probe))
            health = await connector.activate(session, channel_id)
            state = ChannelState(state="active", connected=health.connected, problem=health.problem)
            view = await self.inbox.set_channel_state(session, channel_id, state)
        finally:
            if view is None:
                # Also when the answer of a step was lost: what it may have left must not stay half-created.
                await self._undo(connector, session, channel_id)
            self.channels.spoil(session.tenant_id)
        return view

    async def _undo(self, connector: Connector, session: Session, channel_id: str) -> None:
        """Remove both halves, whether they exist or not. What fails here, the sweep of its owner removes."""
        for remove in (self.inbox.delete_channel, connector.forget):
            for _ in range(COMPENSATE_TRIES):
                try:
                    await remove(session, channel_id)
                except Problem as exc:
                    if exc.status == 404:
                        break
                    log.warning("channel_undo_failed", channel_id=channel_id, code=exc.code)
                else:
                    break


def routes(desk: ChannelDesk, guards: Guards) -> APIRouter:
    router = APIRouter(tags=["channels"])
    inbox, channels, manifests = desk.inbox, desk.channels, desk.manifests

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
                reply_window_hours=known.manifest.reply_window_hours,
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
        return await (await desk.connector_of(view.kind)).health(session, channel_id)

    @router.post("/channels", status_code=201)
    async def create(body: ChannelIn, session: Session = guards.admin) -> ChannelAdminOut:
        """Connect an account: asked at the messenger first, stored only if it says yes."""
        if manifests.of(body.kind) is None:
            raise Problem(422, "unknown_kind", "Такого месенджера немає. Дивіться GET /channel-kinds.")
        view = await desk.connect(session, body)
        log.info("channel_created", kind=body.kind, channel_id=view.id, tenant_id=session.tenant_id)
        return desk.to_admin_out(view)

    @router.patch("/channels/{channel_id}")
    async def change(
        channel_id: PathId, body: ChannelPatchIn, session: Session = guards.admin
    ) -> ChannelAdminOut:
        """Only what is named changes; within `settings` too."""
        current = await desk.channel_of(session, channel_id)
        settings = None if body.settings is None else body.settings.over(current.settings)
        view = await inbox.patch_channel(
            session, channel_id, ChannelPatch(title=body.title, settings=settings)
        )
        channels.spoil(session.tenant_id)
        return desk.to_admin_out(view)

    @router.delete("/channels/{channel_id}", status_code=204)
    async def delete(channel_id: PathId, session: Session = guards.admin) -> Response:
        """Disconnect the account; the dialogues stay."""
        view = await desk.channel_of(session, channel_id)
        connector = await desk.connector_of(view.kind)
        # The account first: a webhook of a channel nobody knows would have no home. Repeating is harmless.
        await connector.forget(session, channel_id)
        await inbox.delete_channel(session, channel_id)
        channels.spoil(session.tenant_id)
        log.info("channel_deleted", kind=view.kind, channel_id=channel_id, tenant_id=session.tenant_id)
        return Response(status_code=204)

    return router


def _is_for(session: Session, view: ChannelView) -> bool:
    return session.is_admin or may_see(session.roles, view.settings.roles)


def _stored(body: ChannelIn, probe: AccountProbe) -> StoreChannel:
    return StoreChannel(
        kind=body.kind,
        title=body.title,
        account_id=probe.account_id,
        account_name=probe.account_name,
        credentials_hint=probe.credentials_hint,
        webhook_url=probe.webhook_url,
        settings=body.settings.over(ChannelSettings()),
    )
