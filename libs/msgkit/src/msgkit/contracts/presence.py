"""What operators do right now, for gateways, and for connectors that show typing. Not kept, may be lost."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, TypeAdapter

from msgkit.contracts.events import Frozen
from msgkit.contracts.views import UserRef

TYPING_TTL_S = 6
"""A signal of typing holds so long."""
VIEWING_TTL_S = 45
"""A viewer who has not been heard of for so long is gone; gateways say it again every third of that."""


class TypingNoticed(Frozen):
    type: Literal["typing.v1"]
    tenant_id: str
    channel_id: str
    conversation_id: str
    user: UserRef
    at: AwareDatetime


class ViewingNoticed(Frozen):
    """Where a user's socket looks. `conversation_id` None: at no dialogue any more."""

    type: Literal["viewing.v1"]
    tenant_id: str
    channel_id: str | None
    conversation_id: str | None
    user: UserRef
    socket_id: str
    """One user may look at two dialogues in two tabs."""
    at: AwareDatetime


Presence = Annotated[TypingNoticed | ViewingNoticed, Field(discriminator="type")]
PRESENCE: TypeAdapter[Presence] = TypeAdapter(Presence)
