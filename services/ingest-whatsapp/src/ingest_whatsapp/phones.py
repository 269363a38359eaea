"""WhatsApp's wa_id and the number one can dial: three countries write a number in two ways. Pure.

A client is looked for under every spelling and kept under the one Meta gave (fact sheet 3).
"""

from __future__ import annotations

import re

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat

from ingest_whatsapp.payloads import PHONE_PREFIX

_WA_ID = re.compile(r"[1-9][0-9]{6,14}")
"""E.164 has at most 15 digits; the shortest numbers in use have 7."""
_MEXICO = re.compile(r"52(1?)([0-9]{10})")
_ARGENTINA = re.compile(r"54(9?)([0-9]{10})")
_BRAZIL = re.compile(r"55([1-9][0-9])(9?)([0-9]{8})")
_BRAZIL_LANDLINES = "2345"
"""First digits, after the area, of numbers that never get a 9 (fact sheet 3)."""


def wa_id(value: str) -> str | None:
    """The digits, if this is a phone at all."""
    found = value.strip().removeprefix("+")
    return found if _WA_ID.fullmatch(found) else None


def e164(digits: str | None) -> str | None:
    """The number as one dials it, if it is one.

    Args:
        digits: a wa_id, country first, without a plus.

    Source: fact sheet 3 (E.164); which lengths a country has: phonenumbers.
    """
    if digits is None or not _WA_ID.fullmatch(digits):
        return None
    dialled = _dialled(digits)
    try:
        found = phonenumbers.parse(f"+{dialled}")
    except NumberParseException:
        return None
    # Not `is_valid_number`: it knows the ranges of the day it was packed, and Meta numbers newer ones.
    if not phonenumbers.is_possible_number(found):
        return None
    return phonenumbers.format_number(found, PhoneNumberFormat.E164)


def spellings(digits: str) -> tuple[str, ...]:
    """How the same phone may be written otherwise in Brazil, Mexico and Argentina; without `digits` itself.

    Source: fact sheet 3.
    """
    if match := _MEXICO.fullmatch(digits):
        mobile, rest = match.groups()
        return (f"52{rest}" if mobile else f"521{rest}",)
    if match := _ARGENTINA.fullmatch(digits):
        mobile, rest = match.groups()
        return (f"54{rest}" if mobile else f"549{rest}",)
    if match := _BRAZIL.fullmatch(digits):
        area, ninth, rest = match.groups()
        if ninth:
            # Without its 9 it would be a landline, which is somebody else's.
            return () if rest[0] in _BRAZIL_LANDLINES else (f"55{area}{rest}",)
        return () if rest[0] in _BRAZIL_LANDLINES else (f"55{area}9{rest}",)
    return ()


def same_phone(one: str | None, other: str | None) -> bool:
    """Whether two wa_ids are one phone, whichever way they are written."""
    return one is not None and other is not None and (one == other or other in spellings(one))


def phone_key(digits: str) -> str:
    """The id of a person known by this wa_id."""
    return f"{PHONE_PREFIX}{digits}"


def _dialled(digits: str) -> str:
    """As the country's own plan says: no 1 in Mexico, the ninth digit of a mobile in Brazil."""
    if match := _MEXICO.fullmatch(digits):
        return f"52{match.group(2)}"
    match = _BRAZIL.fullmatch(digits)
    if match and not match.group(2) and match.group(3)[0] not in _BRAZIL_LANDLINES:
        return f"55{match.group(1)}9{match.group(3)}"
    return digits
