"""A webhook of Messenger or Instagram becomes our events. Pure; what is odd becomes a placeholder.

Source: fact sheet 1.2, 1.3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

from ingest_meta import envelope
from ingest_meta.alerts import to_alerts
from ingest_meta.content import own_phone, referral_link, to_content, to_text
from ingest_meta.envelope import Frame
from ingest_meta.flavours import flavour_of
from ingest_meta.keyboards import read_payload
from ingest_meta.payloads import NAME_MAX_CHARS, PAYLOAD_MAX_CHARS, TEXT_KEPT_CHARS, WORD_MAX_CHARS
from ingest_meta.receipts import mark_of, to_delivered, to_read, to_sent
from msgkit.connector.contract import Account, Parsed, WebhookRequest
from msgkit.connector.raw import Node, is_node, node, opaque, short, text
from msgkit.contracts.events import (
    ButtonPress,
    Contact,
    MessageDeleted,
    MessageEchoed,
    MessageEdited,
    MessageReceived,
    ReactionChanged,
)
from msgkit.contracts.ids import derived_id
from msgkit.contracts.words import AuthorKind

_COUNTED: Final = (
    "referral",
    "optin",
    "pass_thread_control",
    "take_thread_control",
    "request_thread_control",
    "app_roles",
    "account_linking",
    "response_feedback",
    "order",
)
"""Known, and nothing is said by them. Source: fact sheet 1.2."""
_COUNTED_FIELDS: Final = frozenset(
    {
        "comments",
        "feed",
        "live_comments",
        "mentions",
        "messenger_template_status_update",
        "messaging_handover",
        "messaging_handovers",
        "story_insights",
    }
)
"""Elements of `changes[]`: none of them is a message to the account."""


@dataclass(frozen=True)
class _Said:
    """One item with what surrounds it."""

    told: Node
    frame: Frame

    @cached_property
    def at(self) -> datetime:
        return self.frame.moment(self.told)

    @cached_property
    def is_by_us(self) -> bool:
        """In Meta's app, by another program, or by ourselves."""
        message = node(self.told.get("message"))
        return message.get("is_echo") is True or _id(self.told, "sender") == self.frame.account.account_id

    @cached_property
    def contact_key(self) -> str | None:
        """The client's PSID or IGSID; None if the item names nobody one could answer."""
        found = _id(self.told, "recipient" if self.is_by_us else "sender")
        return None if found == self.frame.account.account_id else found

    @property
    def contact(self) -> Contact:
        # Webhooks name nobody: names come from profiles (fact sheet 3).
        return Contact(key=self.contact_key or "", name="", username=None, phone=None, language=None)

    @property
    def seq(self) -> int:
        """The order within a dialogue."""
        return round(self.at.timestamp() * 1000)

    def common(self, provider_key: str, event_type: str) -> dict[str, Any]:
        common = self.frame.common(self.told, self.contact_key or "", provider_key, event_type)
        return {**common, "contact": self.contact}


def to_parsed(request: WebhookRequest, account: Account) -> Parsed:
    """Translate one webhook, or the part of one that is about this account.

    Args:
        request: the webhook; its signature was checked.
        account: the page or the Instagram account it came to.

    Raises:
        PayloadInvalid: not JSON, or not a webhook of Messenger or Instagram.
    """
    opened = envelope.opened(request.body)
    if not opened.items:
        return Parsed(counted=("test" if opened.kind is None else "empty",))
    if opened.kind != account.kind:
        return Parsed(counted=("other_account",))
    if account.state == "disabled" and flavour_of(account).is_by_page:
        # A page stays subscribed for the other messenger's sake: what is off must not go on coming in.
        return Parsed(counted=("switched_off",))
    parts = [part for item in opened.items for part in _of_item(Frame(item, request, account))]
    reasons = dict.fromkeys(part.quarantine for part in parts if part.quarantine is not None)
    return Parsed(
        events=tuple(event for part in parts for event in part.events),
        counted=tuple(name for part in parts for name in part.counted),
        quarantine="; ".join(reasons) or None,
        receipts=tuple(receipt for part in parts for receipt in part.receipts),
        alerts=tuple(alert for part in parts for alert in part.alerts),
    )


def _of_item(frame: Frame) -> Iterator[Parsed]:
    item = frame.item
    if not is_node(item.told):
        yield Parsed(quarantine="an item that is no object")
    elif item.entry_id != frame.account.account_id:
        yield Parsed(counted=("other_account",))
    elif item.where == "changes":
        field = text(item.told.get("field")) or ""
        yield Parsed(counted=(field if field in _COUNTED_FIELDS else "unknown_field",))
    elif item.where == "nothing":
        yield Parsed(counted=("empty",))
    else:
        yield _of_said(_Said(item.told, frame))


def _of_said(said: _Said) -> Parsed:
    for name, read in _READERS.items():
        if name in said.told:
            if not is_node(said.told[name]):
                return Parsed(quarantine=f"a {name} that is no object")
            return read(said)
    return next((Parsed(counted=(name,)) for name in _COUNTED if name in said.told), _UNKNOWN)


_UNKNOWN: Final = Parsed(counted=("unknown_item",))


# --- messages


def _to_message(said: _Said) -> Parsed:
    message = node(said.told.get("message"))
    mid = opaque(message.get("mid"))
    if message.get("is_self") is True:
        # The account writes to itself, which Instagram has for tests (fact sheet 1.3).
        return Parsed(counted=("self_test",))
    mark = mark_of(message) if said.is_by_us else None
    if mid is not None and mark is not None and not message.get("is_deleted"):
        return to_sent(mid, mark, said.at)
    if mid is None or said.contact_key is None:
        return _lacking("message", "its id" if mid is None else "a person one could answer")
    if message.get("is_deleted") is True:
        return _to_deletion(said, mid)
    return _to_echo(said, message, mid) if said.is_by_us else _to_received(said, message, mid)


def _to_received(said: _Said, message: Node, mid: str) -> Parsed:
    referral = message.get("referral")
    quoted, phone = _quoted(message), own_phone(message)
    # The title of what was pressed is the text.
    value = None if phone is not None else _value(node(message.get("quick_reply")))
    common = said.common(mid, "message.received.v1")
    event = MessageReceived(
        **{**common, "contact": said.contact.model_copy(update={"phone": phone})},
        provider_id=mid,
        provider_seq=said.seq,
        sent_at=said.at,
        content=to_content(message, said.frame.account),
        reply_to_provider_id=quoted,
        start_payload=_led_from(referral),
        group_id=None,
        pressed=None if value is None else ButtonPress(value=value, message_provider_id=quoted),
        is_standby=said.frame.is_standby,
    )
    return Parsed(events=(event,), counted=("message_referral",) if is_node(referral) else ())


def _to_echo(said: _Said, message: Node, mid: str) -> Parsed:
    event = MessageEchoed(
        **said.common(mid, "message.echoed.v1"),
        provider_id=mid,
        provider_seq=said.seq,
        sent_at=said.at,
        # In the page's own inbox a person answers; which program did, Meta does not tell for sure.
        author_kind=AuthorKind.OPERATOR,
        content=to_content(message, said.frame.account),
        buttons=[],
        reply_to_provider_id=_quoted(message),
    )
    return Parsed(events=(event,))


def _to_postback(said: _Said) -> Parsed:
    postback = node(said.told.get("postback"))
    if said.contact_key is None or said.is_by_us:
        return _lacking("postback", "a person one could answer")
    title, referral = short(postback.get("title"), TEXT_KEPT_CHARS), postback.get("referral")
    # In standby it comes without a payload (fact sheet 1.2).
    value = _value(postback)
    mid = opaque(postback.get("mid")) or _made_up(said, "postback", value or "", title or "")
    # Without a title: what the button carries says more than nothing.
    content = to_text(title or value or "")
    link = referral_link(referral) if is_node(referral) else None
    event = MessageReceived(
        **said.common(mid, "message.received.v1"),
        provider_id=mid,
        provider_seq=said.seq,
        sent_at=said.at,
        content=content.model_copy(update={"shared_link": link}),
        reply_to_provider_id=None,
        start_payload=_led_from(referral),
        group_id=None,
        pressed=None if value is None else ButtonPress(value=value, message_provider_id=None),
        is_standby=said.frame.is_standby,
    )
    return Parsed(events=(event,), counted=("message_referral",) if is_node(referral) else ())


def _value(pressed: Node) -> str | None:
    payload = short(pressed.get("payload"), PAYLOAD_MAX_CHARS)
    return None if payload is None else read_payload(payload)


def _led_from(referral: object) -> str | None:
    """What the link of ours carried, or else which advertisement it was."""
    told = node(referral)
    return short(told.get("ref"), NAME_MAX_CHARS) or opaque(told.get("ad_id"), WORD_MAX_CHARS)


# --- what happens to messages


def _to_edit(said: _Said) -> Parsed:
    edit = node(said.told.get("message_edit"))
    mid, words = opaque(edit.get("mid")), text(edit.get("text"))
    if mid is None or said.contact_key is None:
        return _lacking("message_edit", "its id" if mid is None else "a person one could answer")
    if words is None:
        # There is no telling what it says now; what it said stays.
        return Parsed(counted=("edit_without_text",))
    number = opaque(edit.get("num_edit"), WORD_MAX_CHARS) or _made_up(said, "edit", words)
    event = MessageEdited(
        **said.common(f"edit:{mid}:{number}", "message.edited.v1"),
        provider_id=mid,
        edited_at=said.at,
        content=to_text(words),
    )
    return Parsed(events=(event,))


def _to_deletion(said: _Said, mid: str) -> Parsed:
    event = MessageDeleted(
        **said.common(f"del:{mid}", "message.deleted.v1"), provider_id=mid, deleted_at=said.at
    )
    return Parsed(events=(event,))


def _to_reaction(said: _Said) -> Parsed:
    reaction = node(said.told.get("reaction"))
    mid, action = opaque(reaction.get("mid")), text(reaction.get("action"))
    if mid is None or said.contact_key is None:
        return _lacking("reaction", "its message" if mid is None else "a person one could answer")
    if action not in {"react", "unreact"}:
        return Parsed(counted=("reaction_unknown",))
    name = text(reaction.get("reaction")) or ""
    emoji = short(reaction.get("emoji"), WORD_MAX_CHARS) or _SIGNS.get(name, _SIGN_OF_ANOTHER)
    key = (mid, _id(said.told, "sender") or "", action, emoji if action == "react" else "", _time(said))
    event = ReactionChanged(
        **said.common(":".join(key), "message.reacted.v1"),
        provider_id=mid,
        author_kind=AuthorKind.OPERATOR if said.is_by_us else AuthorKind.CLIENT,
        emoji=emoji if action == "react" else None,
        reacted_at=said.at,
    )
    return Parsed(events=(event,))


_SIGN_OF_ANOTHER: Final = "👍"
_SIGNS: Final[dict[str, str]] = {
    "smile": "😆",
    "angry": "😠",
    "sad": "😢",
    "wow": "😮",
    "love": "❤️",
    "like": "👍",
    "dislike": "👎",
}
"""For a reaction told by its name alone. Source of the names: fact sheet 1.2."""


# --- what happens to ours


def _to_delivery(said: _Said) -> Parsed:
    return to_delivered(said.told, said.contact_key, said.frame)


def _to_read(said: _Said) -> Parsed:
    if said.is_by_us:
        return Parsed(counted=("read_by_us",))
    return to_read(said.told, said.contact_key, said.frame)


def _to_policy(said: _Said) -> Parsed:
    return to_alerts(said.told, said.frame)


_READERS: Final[dict[str, Callable[[_Said], Parsed]]] = {
    "message": _to_message,
    "postback": _to_postback,
    "message_edit": _to_edit,
    "reaction": _to_reaction,
    "delivery": _to_delivery,
    "read": _to_read,
    "policy_enforcement": _to_policy,
}
"""An item has exactly one of them (fact sheet 1.2)."""


# --- shared


def _id(told: Node, side: str) -> str | None:
    return opaque(node(told.get(side)).get("id"))


def _quoted(message: Node) -> str | None:
    """The message this one answers; none for an answer to a story."""
    return opaque(node(message.get("reply_to")).get("mid"))


def _lacking(what: str, lacks: str) -> Parsed:
    return Parsed(quarantine=f"a {what} without {lacks}")


def _time(said: _Said) -> str:
    """The time as it was told, the same in each repeat; never the time of our receiving it."""
    told: Sequence[object] = (said.told.get("timestamp"), said.frame.item.time)
    return next((found for one in told if (found := opaque(one)) is not None), "")


def _made_up(said: _Said, *what: str) -> str:
    """An id for what Meta gave none, the same in each repeat. Source: fact sheet 1.1, «Dedup keys»."""
    return derived_id("meta", said.contact_key or "", _time(said), *what)
