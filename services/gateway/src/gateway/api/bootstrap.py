"""What a window asks first: who am I, what may I see, from where do I follow."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.api.access import Guards, no_access
from gateway.clients import Channels, Inbox
from gateway.consumers import Manifests
from gateway.live import Live, to_channel_out
from gateway.schemas import BootstrapOut, MeOut, Session, TenantOut
from gateway.store import Store
from msgkit.contracts.access import allowed_channels
from msgkit.runtime.problems import Problem


def routes(
    inbox: Inbox,
    store: Store,
    channels: Channels,
    manifests: Manifests,
    live: Live,
    guards: Guards,
    *,
    upload_max_bytes: int,
) -> APIRouter:
    router = APIRouter(tags=["me"])

    @router.get("/bootstrap")
    async def bootstrap(session: Session = guards.signed_in) -> BootstrapOut:
        """Me, my settings, counters and channels; `pos` was read before all of it."""
        start = live.start_position() if live.ready.is_set() else None
        if start is None:
            raise Problem(
                503, "not_ready", "Сервіс запускається. Спробуйте за мить.", headers={"Retry-After": "1"}
            )
        epoch = live.epoch
        known = await channels.of(session.tenant_id)
        allowed = allowed_channels(session.roles, {id_: view.settings.roles for id_, view in known.items()})
        if not allowed:
            raise no_access()
        counters = await inbox.counters(session.caller)
        tenant = await store.tenant(session.tenant_id)
        return BootstrapOut(
            me=MeOut(
                id=session.user_id,
                name=session.name,
                roles=sorted(session.roles),
                tenant=TenantOut(id=tenant.id, title=tenant.title),
            ),
            settings=await store.settings(session.tenant_id, session.user_id),
            counters=counters,
            channels=[to_channel_out(known[id_], manifests) for id_ in sorted(allowed)],
            upload_max_bytes=upload_max_bytes,
            epoch=epoch,
            pos=start.pos,
            id=start.id or None,
        )

    return router
