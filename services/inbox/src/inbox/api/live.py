"""Which stream the gateways read.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.
"""

from fastapi import APIRouter, Depends

from inbox.api.doors import Doorkeeper
from inbox.live_epoch import LiveEpoch
from msgkit.contracts import internal_api


def live_routes(live: LiveEpoch, doorkeeper: Doorkeeper) -> APIRouter:
    """
    Args:
        live: the epoch in force.
        doorkeeper: who calls.
    """
    router = APIRouter(dependencies=[Depends(doorkeeper.any_service)])

    @router.get("/live")
    async def live_epoch() -> internal_api.LiveEpoch:
        return internal_api.LiveEpoch(epoch=await live.current())

    @router.post("/live/renew")
    async def renew_live(body: internal_api.LiveEpoch) -> internal_api.LiveEpoch:
        return internal_api.LiveEpoch(epoch=await live.renew(body.epoch))

    return router
