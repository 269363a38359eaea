"""By which ids a client is known: phone, business-scoped user id, or only one of them, as Meta gives them.

Source: the fact sheet, 1.4 (five identity variants) and 3 (BSUID, rewritten prefixes of three countries).
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

Variant = Literal["phone_and_user_id", "user_id_only", "user_id_in_from", "empty_wa_id", "phone_only"]
Json = dict[str, object]

_USER_ID = re.compile(r"[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}")
_COUNTRIES = {"380": "UA", "1": "US", "52": "MX", "54": "AR", "55": "BR"}
_BRAZIL_LOCAL_DIGITS = 8
_FIRST_MOBILE_DIGIT = "6"


@dataclass(slots=True)
class Identity:
    """Who somebody is for one business portfolio."""

    client: str
    portfolio: str
    wa_id: str
    """Digits of the phone, as Meta writes them."""
    variant: Variant = "phone_and_user_id"
    username: str | None = None
    with_parent: bool = False
    generation: int = 0
    """Rises with each change of number."""

    @property
    def user_id(self) -> str:
        """The business-scoped user id; a new one after a change of number."""
        return f"{_country(self.wa_id)}.{self._digits('user')}"

    @property
    def parent_user_id(self) -> str:
        """The id for all portfolios of one parent."""
        return f"{_country(self.wa_id)}.ENT.{self._digits('parent')}"

    @property
    def shows_phone(self) -> bool:
        """Whether webhooks carry the phone."""
        return self.variant in ("phone_and_user_id", "phone_only")

    def ids(self) -> Json:
        """The ids of `contacts[]`."""
        match self.variant:
            case "phone_and_user_id":
                shown: Json = {"wa_id": self.wa_id, "user_id": self.user_id}
            case "user_id_only":
                shown = {"user_id": self.user_id}
            case "user_id_in_from":
                return {"wa_id": self.user_id}
            case "empty_wa_id":
                shown = {"wa_id": "", "user_id": self.user_id}
            case "phone_only":
                return {"wa_id": self.wa_id}
        return {**shown, "parent_user_id": self.parent_user_id} if self.with_parent else shown

    def sender(self) -> Json:
        """Who wrote, in a message."""
        return {_SENDER[key]: value for key, value in self.ids().items()}

    def recipient(self) -> Json:
        """To whom, in a status; an empty phone is left out there."""
        return {_RECIPIENT[key]: value for key, value in self.ids().items() if value}

    def target(self) -> Json:
        """To whom, in an echo."""
        return {_TARGET[key]: value for key, value in self.ids().items() if value}

    def _digits(self, purpose: str) -> str:
        seed = f"{purpose}:{self.portfolio}:{self.client}:{self.generation}"
        return f"{int(hashlib.sha256(seed.encode()).hexdigest(), 16) % 10**18 + 10**19}"


_SENDER = {"wa_id": "from", "user_id": "from_user_id", "parent_user_id": "from_parent_user_id"}
_RECIPIENT = {
    "wa_id": "recipient_id",
    "user_id": "recipient_user_id",
    "parent_user_id": "recipient_parent_user_id",
}
_TARGET = {"wa_id": "to", "user_id": "to_user_id", "parent_user_id": "to_parent_user_id"}


def is_user_id(value: str) -> bool:
    """Whether this is a business-scoped user id and no phone."""
    return _USER_ID.fullmatch(value) is not None


def digits_of(value: str) -> str:
    """A phone as dialled, without what people write between digits."""
    return re.sub(r"[^0-9]", "", value)


def same_phone(digits: str) -> frozenset[str]:
    """Numbers that may be the same phone: Brazil's ninth digit, Mexico's 1, Argentina's 9."""
    found = {digits}
    if digits.startswith("521"):
        found.add(f"52{digits[3:]}")
    elif digits.startswith("52"):
        found.add(f"521{digits[2:]}")
    if digits.startswith("549"):
        found.add(f"54{digits[3:]}")
    elif digits.startswith("54"):
        found.add(f"549{digits[2:]}")
    if digits.startswith("55"):
        area, local = digits[2:4], digits[4:]
        if len(local) == _BRAZIL_LOCAL_DIGITS + 1 and local.startswith("9"):
            found.add(f"55{area}{local[1:]}")
        elif len(local) == _BRAZIL_LOCAL_DIGITS and local[0] >= _FIRST_MOBILE_DIGIT:
            found.add(f"55{area}9{local}")
    return frozenset(found)


def _country(wa_id: str) -> str:
    return next((code for begin, code in _COUNTRIES.items() if wa_id.startswith(begin)), "UA")
