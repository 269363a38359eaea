"""The people of a tenant, as far as the embedded login knows them: who may be handed a chat."""

from __future__ import annotations

from gateway.clients import Channels
from gateway.schemas import Session
from gateway.store import Store
from msgkit.contracts.access import may_see
from msgkit.contracts.views import UserRef
from msgkit.runtime.problems import Problem


class Colleagues:
    def __init__(self, store: Store, channels: Channels) -> None:
        self._store = store
        self._channels = channels

    async def who_may_have(self, session: Session, user_id: str, channel_id: str) -> UserRef:
        """The colleague, if they work with this channel.

        Args:
            session: who asks; may name themselves, also when another issuer signs their tokens.
            user_id: whom they name.
            channel_id: of a chat the asking person may see.

        Raises:
            Problem: 422; nobody in this tenant, or somebody who would not see the chat.
        """
        name, roles = session.name, session.roles
        if user_id != session.user_id:
            user = await self._store.user(session.tenant_id, user_id)
            if user is None:
                raise Problem(
                    422, "unknown_user", "Такого співробітника немає. Оновіть список і оберіть іншого."
                )
            name, roles = user.name, frozenset(user.roles)
        channel = (await self._channels.of(session.tenant_id)).get(channel_id)
        if channel is None or not may_see(roles, channel.settings.roles):
            raise Problem(
                422, "user_without_access", "Цей співробітник не працює з каналом чату. Оберіть іншого."
            )
        return UserRef(id=user_id, name=name)
