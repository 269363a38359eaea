"""Channels: read by the gateway for every check, changed by administrators.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.
"""

from typing import Annotated

from fastapi import APIRouter, Depends, Response

from inbox.api.doors import Doorkeeper, tenant_of
from inbox.channels import AlreadyConnected, ChannelRecord, channel_fields
from inbox.conversations import NotFound
from inbox.desk import ChannelDesk
from msgkit.contracts.access import ADMIN
from msgkit.contracts.internal_api import ChannelPatch, ChannelState, StoreChannel
from msgkit.contracts.views import ChannelView
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller


def channel_routes(desk: ChannelDesk, doorkeeper: Doorkeeper) -> APIRouter:
    """
    Args:
        desk: where channels are changed.
        doorkeeper: who calls.
    """
    router = APIRouter()
    store = desk.store

    async def a_tenant(caller: Annotated[Caller, Depends(doorkeeper.gateway)]) -> str:
        return tenant_of(caller)

    async def administered_tenant(caller: Annotated[Caller, Depends(doorkeeper.gateway)]) -> str:
        if ADMIN not in caller.roles:
            raise Problem(403, "role_required", "Каналами керує адміністратор.")
        return tenant_of(caller)

    async def any_tenant(caller: Annotated[Caller, Depends(doorkeeper.any_service)]) -> str:
        return tenant_of(caller)

    async def tell(record: ChannelRecord | None) -> ChannelView:
        if record is None:
            raise NotFound
        return await desk.tell(record)

    @router.get("/channels")
    async def list_channels(tenant_id: Annotated[str, Depends(a_tenant)]) -> list[ChannelView]:
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
