"""Who calls: found from the service token, with the channels the person may see.

No `from __future__ import annotations` here: FastAPI must see the dependencies the functions close over.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from inbox.channels import ChannelRecord, ChannelStore
from inbox.projections import Key
from msgkit.contracts.access import allowed_channels
from msgkit.runtime.problems import Problem
from msgkit.runtime.tokens import Caller

CallerOf = Callable[[Request], Awaitable[Caller]]


@dataclass(frozen=True, slots=True)
class Viewer:
    """The person behind a call, with the channels they may see."""

    tenant_id: str
    user_id: str
    name: str
    channels: dict[str, ChannelRecord]

    @property
    def allowed(self) -> frozenset[str]:
        return frozenset(self.channels)

    def key(self, conversation_id: str) -> Key:
        return Key(self.tenant_id, conversation_id)

    def title(self, channel_id: str) -> str:
        channel = self.channels.get(channel_id)
        return "" if channel is None else channel.view.title


@dataclass(frozen=True, slots=True)
class Doorkeeper:
    """Finds who calls, from the service token."""

    gateway: CallerOf
    """Admits only the gateway."""
    any_service: CallerOf
    """Admits every service we know."""

    def viewer_of(self, store: ChannelStore) -> Callable[[Caller], Awaitable[Viewer]]:
        """A dependency: the person behind a call of the gateway."""

        async def viewer_of(caller: Annotated[Caller, Depends(self.gateway)]) -> Viewer:
            if caller.tenant_id is None or caller.user_id is None:
                raise Problem(403, "user_required", "Цей виклик потребує користувача в токені.")
            records = await store.channels(caller.tenant_id)
            allowed = allowed_channels(
                caller.roles, {record.view.id: record.view.settings.roles for record in records}
            )
            return Viewer(
                caller.tenant_id,
                caller.user_id,
                caller.user_name or caller.user_id,
                {record.view.id: record for record in records if record.view.id in allowed},
            )

        return viewer_of


def tenant_of(caller: Caller) -> str:
    if caller.tenant_id is None:
        raise Problem(403, "tenant_required", "Цей виклик потребує компанії в токені.")
    return caller.tenant_id
