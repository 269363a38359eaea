"""A number and how it is connected, in words for the administrator with one fix each. Pure.

Source: fact sheet 4; `webhook_configuration` and `status`: PYWA api.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ingest_whatsapp.payloads import NUMBER_PREFIX, WABA_PREFIX, WORD_MAX_CHARS, digits_of
from msgkit.connector.contract import ConnectionReport, Identity
from msgkit.connector.errors import CredentialsInvalid
from msgkit.connector.raw import Node, is_node, items, node, opaque, text, words

NUMBER_FIELDS: Final = (
    "id",
    "verified_name",
    "display_phone_number",
    "quality_rating",
    "status",
    "throughput",
    "platform_type",
    "is_on_biz_app",
    "code_verification_status",
    "webhook_configuration",
)
CALLBACK_MAX_CHARS: Final = 200
"""Of an address of a number's own. Source: fact sheet 4."""

_HOOK_LEVELS = ("phone_number", "whatsapp_business_account", "application")
"""Where an address of webhooks may stand; the first one counts."""
_NOT_SUBSCRIBED = "WhatsApp не надсилає подій цього акаунта. Підключіть канал знову."
_LOW_QUALITY = (
    "Якість номера низька: клієнти скаржаться або блокують його. Припиніть розсилки, інакше Meta обмежить "
    "номер."
)


@dataclass(frozen=True, slots=True)
class Standing:
    """What WhatsApp says of a number."""

    number: Node
    """`GET /{phone_number_id}` with NUMBER_FIELDS."""
    subscribed: Sequence[object]
    """`data` of `GET /{waba_id}/subscribed_apps`."""


def to_identity(number: Node, waba_id: str, numbers: Sequence[object]) -> Identity:
    """Which account it is.

    Args:
        number: `GET /{phone_number_id}`.
        waba_id: as the administrator gave it.
        numbers: `data` of `GET /{waba_id}/phone_numbers`.

    Raises:
        CredentialsInvalid: the number is not one of this business account.
    """
    number_id = opaque(number.get("id")) or ""
    if not number_id or number_id not in {opaque(one.get("id")) for one in numbers if is_node(one)}:
        raise CredentialsInvalid(
            "Цей номер не належить указаному акаунту WhatsApp Business. Перевірте phone_number_id і waba_id "
            "у WhatsApp Manager."
        )
    shown = words(number.get("display_phone_number"), WORD_MAX_CHARS)
    digits = digits_of(shown)
    return Identity(
        account_id=number_id,
        account_name=words(number.get("verified_name"), WORD_MAX_CHARS) or shown,
        also_known_as=(f"{WABA_PREFIX}{waba_id}", *((f"{NUMBER_PREFIX}{digits}",) if digits else ())),
    )


def hook_of(number: Node) -> str | None:
    """Where the webhooks of this number go; None if WhatsApp does not say, empty if nowhere."""
    told = number.get("webhook_configuration")
    if not is_node(told):
        return None
    return next((url for level in _HOOK_LEVELS if (url := text(told.get(level)))), "")


def own_hook_of(number: Node) -> str:
    """The address that was given to this number alone; empty if there is none."""
    return text(node(number.get("webhook_configuration")).get(_HOOK_LEVELS[0])) or ""


def to_report(
    standing: Standing, webhook_url: str, *, is_own_app: bool, trouble: str | None
) -> ConnectionReport:
    """How a number is connected.

    Args:
        standing: what WhatsApp says.
        webhook_url: our address for it.
        is_own_app: it is served by an app of the tenant's, at an address of its own.
        trouble: a problem that only the answers to our sends tell; None if there is none.

    Source: fact sheet 4. WhatsApp tells nothing of webhooks that wait.
    """
    number = standing.number
    hook, status = hook_of(number), words(number.get("status"), WORD_MAX_CHARS)
    if not items(list(standing.subscribed)):
        return ConnectionReport(connected=False, problem=_NOT_SUBSCRIBED, pending_updates=None)
    if hook is not None and hook.rstrip("/") != webhook_url.rstrip("/"):
        return ConnectionReport(
            connected=False, problem=_wrong_hook(webhook_url, is_own_app=is_own_app), pending_updates=None
        )
    if status is not None and status.upper() != "CONNECTED":
        problem: str | None = (
            f"Номер у WhatsApp має стан {status}. Відкрийте його у WhatsApp Manager й усуньте причину."
        )
        return ConnectionReport(connected=False, problem=problem, pending_updates=None)
    problem = trouble
    if problem is None and (text(number.get("quality_rating")) or "").upper() == "RED":
        problem = _LOW_QUALITY
    return ConnectionReport(connected=True, problem=problem, pending_updates=None)


def _wrong_hook(webhook_url: str, *, is_own_app: bool) -> str:
    if is_own_app:
        return "Вебхук цього номера веде до іншої системи. Вимкніть її або підключіть канал знову."
    return f"Вебхук застосунку Meta веде не сюди. Укажіть у його налаштуваннях WhatsApp адресу {webhook_url}"
