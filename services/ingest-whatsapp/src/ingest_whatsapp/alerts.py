"""What Meta says of the account itself, for the administrator: what happened and the one fix. Pure.

Source: fact sheet 1.4 («Coexistence»), WA/webhooks/reference/account_update.
"""

from __future__ import annotations

from ingest_whatsapp.envelope import Frame
from ingest_whatsapp.payloads import WORD_MAX_CHARS
from ingest_whatsapp.refusals import to_problem
from msgkit.connector.contract import AccountAlert, Parsed
from msgkit.connector.raw import Node, items, node, text, words

COUNTED_FIELDS = frozenset(
    {
        "account_alerts",
        "account_review_update",
        "business_capability_update",
        "calls",
        "message_template_components_update",
        "message_template_quality_update",
        "message_template_status_update",
        "messaging_handovers",
        "phone_number_name_update",
        "phone_number_quality_update",
        "security",
        "template_category_update",
        "user_preferences",
    }
)
"""Known, and nothing to do: templates are asked for, quality is looked at by the watch of the accounts."""

_UNTIL_REPAIRED = " Тоді натисніть «Підключити знову»."
_UNTIL_SETTLED = " Коли все вирішено, натисніть «Підключити знову»: це попередження зникне."
"""Meta takes back a ban and a parting; everything else ends when a person says so."""
_DISCONNECTED = {
    "PARTNER_REMOVED": "Власник акаунта WhatsApp від'єднав наш застосунок. "
    f"Надайте доступ знову в Meta Business Suite.{_UNTIL_REPAIRED}",
    "ACCOUNT_OFFBOARDED": "Номер від'єднано: змінено телефон або перереєстровано WhatsApp Business. "
    f"Відкрийте застосунок на новому телефоні або підключіть номер до застосунку ще раз.{_UNTIL_REPAIRED}",
    "ACCOUNT_DELETED": "Акаунт WhatsApp Business видалено. Підключіть номер іншого акаунта як новий канал.",
}
_ALL_WELL = frozenset({"ACCOUNT_RECONNECTED", "PARTNER_ADDED"})
_BANNED = (
    "Meta вимкнула акаунт WhatsApp Business. "
    "Подайте апеляцію в Meta Business Suite, «Якість облікового запису». Коли Meta поверне доступ, канал "
    "запрацює сам або після «Підключити знову»."
)
_TO_BE_BANNED = (
    "Meta попереджає, що вимкне акаунт WhatsApp Business{when}. "
    "Перевірте «Якість облікового запису» в Meta Business Suite й подайте апеляцію."
    f"{_UNTIL_SETTLED}"
)
_VIOLATION = (
    "Meta зафіксувала порушення правил WhatsApp{what}. "
    f"Перевірте «Якість облікового запису» в Meta Business Suite.{_UNTIL_SETTLED}"
)
_RESTRICTED = (
    "Meta обмежила акаунт WhatsApp: {what}{when}. "
    "Перевірте «Якість облікового запису» в Meta Business Suite й подайте апеляцію."
    f"{_UNTIL_SETTLED}"
)
_RESTRICTIONS = {
    "RESTRICTED_BIZ_INITIATED_MESSAGING": "не можна писати першими (шаблони)",
    "RESTRICTED_CUSTOMER_INITIATED_MESSAGING": "не можна відповідати клієнтам",
    "RESTRICTED_ADD_PHONE_NUMBER_ACTION": "не можна додавати номери",
}


def to_alerts(frame: Frame) -> Parsed:
    """A change of the field `account_update`."""
    told = frame.value
    event = words(told.get("event"), WORD_MAX_CHARS) or ""
    counted = ("account_update",)
    if event in _ALL_WELL:
        return _alert(frame, None, counted)
    if event in _DISCONNECTED:
        return _alert(frame, _DISCONNECTED[event], counted, is_disconnected=True)
    match event:
        case "DISABLED_UPDATE":
            return _to_ban(frame, node(told.get("ban_info")), counted)
        case "ACCOUNT_VIOLATION":
            kind = words(node(told.get("violation_info")).get("violation_type"), WORD_MAX_CHARS)
            return _alert(frame, _VIOLATION.format(what=f" ({kind})" if kind else ""), counted)
        case "ACCOUNT_RESTRICTION":
            return _alert(frame, _restriction(told.get("restriction_info")), counted)
        case _:
            return Parsed(counted=counted)


def to_problems(frame: Frame) -> Parsed:
    """`value.errors[]` without messages: something is wrong with the number or the app."""
    problem = to_problem(frame.value.get("errors"))
    if problem is None:
        return Parsed(counted=("errors",))
    return _alert(frame, f"{problem}{_UNTIL_SETTLED}", ("errors",))


def _alert(
    frame: Frame, problem: str | None, counted: tuple[str, ...], *, is_disconnected: bool = False
) -> Parsed:
    alert = AccountAlert(problem=problem, is_disconnected=is_disconnected, happened_at=frame.at)
    return Parsed(counted=counted, alerts=(alert,))


def _to_ban(frame: Frame, ban: Node, counted: tuple[str, ...]) -> Parsed:
    match text(ban.get("waba_ban_state")):
        case "REINSTATE":
            return _alert(frame, None, counted)
        case "SCHEDULE_FOR_DISABLE":
            return _alert(frame, _TO_BE_BANNED.format(when=_when(ban.get("waba_ban_date"))), counted)
        case _:
            return _alert(frame, _BANNED, counted, is_disconnected=True)


def _restriction(told: object) -> str:
    kinds = [node(one) for one in items(told)]
    named = [_RESTRICTIONS.get(text(one.get("restriction_type")) or "", "") for one in kinds]
    what = ", ".join(dict.fromkeys(name for name in named if name)) or "причину не названо"
    until = next((one.get("expiration") for one in kinds if one.get("expiration")), None)
    return _RESTRICTED.format(what=what, when=_when(until))


def _when(told: object) -> str:
    """A date as Meta writes it; of a moment only the day matters here."""
    found = words(told, WORD_MAX_CHARS)
    return f" (до {found.split('T')[0]})" if found else ""
