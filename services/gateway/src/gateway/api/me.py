"""My own settings, and the names of my colleagues."""

from __future__ import annotations

from fastapi import APIRouter

from gateway.api.access import Guards
from gateway.live import Live
from gateway.schemas import Session, UserSettings, UserSettingsIn, UsersOut
from gateway.store import Store
from msgkit.contracts.facts import UiEvent
from msgkit.contracts.views import UserRef

MAX_USERS = 1_000


def routes(store: Store, live: Live, guards: Guards) -> APIRouter:
    router = APIRouter(tags=["me"])

    @router.get("/me/settings")
    async def my_settings(session: Session = guards.signed_in) -> UserSettings:
        return await store.settings(session.tenant_id, session.user_id)

    @router.patch("/me/settings")
    async def change_my_settings(body: UserSettingsIn, session: Session = guards.signed_in) -> UserSettings:
        """Only what is named changes; my other windows hear of it."""
        values = body.model_dump(exclude_unset=True, exclude_none=True)
        if not values:
            return await store.settings(session.tenant_id, session.user_id)
        settings = await store.change_settings(session.tenant_id, session.user_id, values)
        event = UiEvent(type="settings.updated", data=settings.model_dump(mode="json"))
        await live.tell_user(session.tenant_id, session.user_id, event)
        return settings

    @router.get("/users")
    async def users(session: Session = guards.chat_user) -> UsersOut:
        """Colleagues of the tenant, by name."""
        names = await store.names(session.tenant_id, MAX_USERS)
        return UsersOut(items=[UserRef(id=id_, name=name) for id_, name in names])

    return router
