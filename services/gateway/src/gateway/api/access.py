"""What every route asks first: who is it, how often, and do they work with chats at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Request

from gateway.auth import Auth
from gateway.clients import Channels
from gateway.limits import Buckets
from gateway.schemas import Session
from msgkit.runtime.problems import Problem

ID_PATTERN = r"^[A-Za-z0-9_-]{1,64}$"
PathId = Annotated[str, Path(pattern=ID_PATTERN)]


def no_access() -> Problem:
    return Problem(403, "no_access", "Немає доступу до чатів. Попросіть адміністратора дати роль.")


@dataclass(frozen=True, slots=True)
class Guards:
    """Dependencies for routes, from the weakest to the strongest: `session: Session = guards.chat_user`."""

    signed_in: Any
    chat_user: Any
    """Somebody who works with at least one channel of the tenant."""
    admin: Any


def guards(auth: Auth, channels: Channels, per_user: Buckets, per_tenant: Buckets) -> Guards:
    async def signed_in(request: Request) -> Session:
        session = auth.session_of(request.headers.get("authorization", ""))
        wait = per_user.take(f"{session.tenant_id}:{session.user_id}") or per_tenant.take(session.tenant_id)
        if wait:
            raise Problem(
                429, "rate_limited", "Забагато запитів. Зачекайте.", headers={"Retry-After": str(wait)}
            )
        return session

    async def chat_user(request: Request) -> Session:
        session = await signed_in(request)
        if not await channels.allowed(session):
            raise no_access()
        return session

    async def admin(request: Request) -> Session:
        session = await signed_in(request)
        if not session.is_admin:
            raise Problem(403, "forbidden", "Це може лише адміністратор.")
        return session

    return Guards(Depends(signed_in), Depends(chat_user), Depends(admin))
