"""The internal routes gateway calls to connect, change, check and remove accounts.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.
"""

from collections.abc import Awaitable
from typing import Annotated, TypeVar

from fastapi import APIRouter, Depends

from msgkit.connector.account_desk import AccountDesk
from msgkit.contracts.internal_api import (
    AccountHealth,
    AccountProbe,
    AccountSettings,
    ConnectAccount,
    MessageTemplate,
)
from msgkit.runtime.mongo import StoreUnavailable
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller, ServiceTokens, caller_dependency

T = TypeVar("T")


def account_routes(desk: AccountDesk, tokens: ServiceTokens) -> APIRouter:
    """The routes of an ingest service in `contracts/internal_api.py`; only gateway may call."""
    router = APIRouter(prefix="/internal/accounts")
    caller = caller_dependency(tokens, {"gateway"})
    FromGateway = Annotated[Caller, Depends(caller)]  # noqa: N806 - a type

    @router.put("/{channel_id}")
    async def put_account(channel_id: str, body: ConnectAccount, caller: FromGateway) -> AccountProbe:
        if caller.tenant_id != body.tenant_id:
            raise Problem(403, "other_tenant", "Токен виданий для іншого простору.")
        return await _stored(desk.connect(channel_id, body))

    @router.post("/{channel_id}/activate")
    async def activate_account(channel_id: str, caller: FromGateway) -> AccountHealth:
        return await _stored(desk.activate(channel_id, caller.tenant_id))

    @router.post("/{channel_id}/disable")
    async def disable_account(channel_id: str, caller: FromGateway) -> AccountHealth:
        return await _stored(desk.disable(channel_id, caller.tenant_id))

    @router.put("/{channel_id}/settings", status_code=204)
    async def apply_settings(channel_id: str, body: AccountSettings, caller: FromGateway) -> None:
        await _stored(desk.apply_settings(channel_id, caller.tenant_id, body))

    @router.post("/{channel_id}/rotate-secret")
    async def rotate_secret(channel_id: str, caller: FromGateway) -> AccountHealth:
        return await _stored(desk.rotate_secret(channel_id, caller.tenant_id))

    @router.get("/{channel_id}/health")
    async def account_health(channel_id: str, caller: FromGateway) -> AccountHealth:
        return await _stored(desk.health(channel_id, caller.tenant_id))

    @router.get("/{channel_id}/templates")
    async def account_templates(channel_id: str, caller: FromGateway) -> list[MessageTemplate]:
        return await _stored(desk.templates(channel_id, caller.tenant_id))

    @router.delete("/{channel_id}", status_code=204)
    async def delete_account(channel_id: str, caller: FromGateway) -> None:
        await _stored(desk.remove(channel_id, caller.tenant_id))

    return router


async def _stored(step: Awaitable[T]) -> T:
    try:
        return await step
    except StoreUnavailable as exc:
        raise Problem(
            503, "unavailable", "Сховище зараз недоступне. Спробуйте ще раз.", headers={"Retry-After": "2"}
        ) from exc
