"""What a call of the Graph API is, and what it did."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web

from sandbox.faults import Fault
from sandbox.whatsapp.codes import MISSING_PARAMETER, GraphRefusal
from sandbox.whatsapp.state import Chat, Json, Number, PhoneMessage, Waba


@dataclass(frozen=True, slots=True)
class Call:
    """One call, its token checked."""

    request: web.Request
    token: str
    object_id: str
    body: Json
    """Query and body together."""
    fault: Fault | None = None

    @property
    def query(self) -> Mapping[str, str]:
        """What stands in the address."""
        return self.request.query


@dataclass(slots=True)
class Called:
    """What a call did: its answer, and the message it made."""

    answer: Json = field(default_factory=dict)
    number: Number | None = None
    chat: Chat | None = None
    message: PhoneMessage | None = None
    waba: Waba | None = None


def required(body: Json, key: str) -> object:
    """A parameter that must be there.

    Raises:
        GraphRefusal: it is not.
    """
    found = body.get(key)
    if found is None or found == "":
        raise GraphRefusal(MISSING_PARAMETER, f"The parameter {key} is required.")
    return found


def required_text(body: Json, key: str) -> str:
    """A text that must be there.

    Raises:
        GraphRefusal: it is not, or is no text.
    """
    found = required(body, key)
    if not isinstance(found, str):
        raise GraphRefusal(MISSING_PARAMETER, f"The parameter {key} must be a string.")
    return found
