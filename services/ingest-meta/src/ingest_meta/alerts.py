"""What Meta says of a page itself, for the administrator: what happened and the one fix. Pure.

Source: fact sheet 1.2, «policy_enforcement».
"""

from __future__ import annotations

from ingest_meta.envelope import Frame
from ingest_meta.payloads import NAME_MAX_CHARS
from msgkit.connector.contract import AccountAlert, Parsed
from msgkit.connector.raw import Node, node, text, words

_WARNED = (
    "Meta попереджає про порушення правил{why}. Перевірте «Якість сторінки» в Meta Business Suite й виправте "
    "зазначене. Тоді натисніть «Підключити знову»: це попередження зникне."
)
_BLOCKED = (
    "Meta заблокувала повідомлення цього каналу{why}. Подайте апеляцію в Meta Business Suite, "
    "«Якість сторінки». Коли Meta зніме блокування, канал запрацює сам або після «Підключити знову»."
)


def to_alerts(told: Node, frame: Frame) -> Parsed:
    """An item with `policy_enforcement`."""
    enforcement = node(told.get("policy_enforcement"))
    reason = words(enforcement.get("reason"), NAME_MAX_CHARS)
    why = f" ({reason})" if reason else ""
    match text(enforcement.get("action")):
        case "unblock":
            return _alert(told, frame, None)
        case "block":
            return _alert(told, frame, _BLOCKED.format(why=why), is_disconnected=True)
        case "warning":
            return _alert(told, frame, _WARNED.format(why=why))
        case _:
            # Said, and not what: nothing an administrator could act upon.
            return Parsed(counted=("policy_unknown",))


def _alert(told: Node, frame: Frame, problem: str | None, *, is_disconnected: bool = False) -> Parsed:
    alert = AccountAlert(problem=problem, is_disconnected=is_disconnected, happened_at=frame.moment(told))
    return Parsed(counted=("policy_enforcement",), alerts=(alert,))
