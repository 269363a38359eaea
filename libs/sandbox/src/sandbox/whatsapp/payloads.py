"""WhatsApp's webhooks: pure functions from what happened to the JSON a callback receives.

Source: the fact sheet, 1.4, whose samples tests/contract compares; webhooks of v24 and later (media carry
their address, statuses have no `conversation`).
"""

import hashlib
import hmac
import json
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sandbox.whatsapp.codes import told
from sandbox.whatsapp.state import Chat, Json, Media, Number, PhoneMessage

OBJECT = "whatsapp_business_account"


@dataclass(frozen=True, slots=True)
class Change:
    """One element of `changes[]`, and the account of its entry."""

    waba_id: str
    field: str
    value: Json


def signature(app_secret: str, body: bytes) -> str:
    """What stands in `X-Hub-Signature-256`: HMAC-SHA256 of the raw body by the app's secret."""
    return f"sha256={hmac.new(app_secret.encode(), body, hashlib.sha256).hexdigest()}"


def encoded(payload: Json) -> bytes:
    """A payload as it goes over the wire: compact, letters and slashes escaped, as Meta signs it."""
    return json.dumps(payload, ensure_ascii=True, separators=(",", ":")).replace("/", "\\/").encode()


def payload(changes: Sequence[Change], shape: str = "mixed") -> Json:
    """One POST of several changes, in their order.

    Args:
        shape: `entries` gives each change an entry, `changes` puts them into one entry, `messages` joins
            the messages and statuses of neighbours into one change; `mixed` does each for a third of them.
    """
    if shape == "mixed":
        third = -(-len(changes) // 3)
        parts = [("messages", changes[:third]), ("changes", changes[third : 2 * third])]
        parts.append(("entries", changes[2 * third :]))
    else:
        parts = [(shape, changes)]
    entries = [entry for kind, some in parts if some for entry in _entries(kind, some)]
    return {"object": OBJECT, "entry": entries}


def value(number: Number, **rest: object) -> Json:
    """The `value` of a change about a number."""
    metadata = {
        "display_phone_number": number.account.digits,
        "phone_number_id": number.account.phone_number_id,
    }
    return {"messaging_product": "whatsapp", "metadata": metadata, **rest}


def contact(chat: Chat, *, named: bool = True) -> Json:
    """Who it is, in `contacts[]`."""
    profile: Json = {"name": chat.user.full_name} if named else {}
    if chat.identity.username is not None:
        profile["username"] = f"@{chat.identity.username}"
    return {"profile": profile, **chat.identity.ids()}


def said(number: Number, chat: Chat, message: Json) -> Json:
    """The client's message: `value` of the field `messages`."""
    return value(number, contacts=[contact(chat)], messages=[message])


def message(chat: Chat, message_id: str, at: float, kind: str, content: object, **rest: object) -> Json:
    """One element of `messages[]`; `content` None: the type has no object of its own."""
    head: Json = {**chat.identity.sender(), "id": message_id, "timestamp": _seconds(at), "type": kind}
    return {**head, **({} if content is None else {kind: content}), **rest}


def status(number: Number, chat: Chat, about: PhoneMessage, state: str, at: float) -> Json:
    """`value` of a status: sent, delivered, read or played, with who it is."""
    recipient = chat.identity.recipient()
    if about.to_user_id and not chat.identity.shows_phone:
        recipient.pop("recipient_id", None)
    one = _status(about, state, at, recipient)
    if state == "sent" or (state in ("delivered", "read") and not about.billed):
        one["pricing"] = pricing(about)
    return value(number, contacts=[contact(chat)], statuses=[one])


def failed(number: Number, recipient: Json, about: PhoneMessage, at: float, code: int) -> Json:
    """`value` of a status of a message that did not arrive: it comes without `contacts`."""
    one = {**_status(about, "failed", at, recipient), "errors": [told(code)]}
    return value(number, statuses=[one])


def pricing(about: PhoneMessage) -> Json:
    """What a message costs: answers within the window are free."""
    free = about.category == "service"
    kind = "free_customer_service" if free else "regular"
    return {"billable": not free, "pricing_model": "PMP", "type": kind, "category": about.category}


def file_content(media: Media, url: str, caption: str | None, kind: str) -> Json:
    """The object of a file; before anybody has called the API no address leads here, and none is told."""
    digest = _base64(media.sha256)
    found: Json = {"mime_type": media.mime, "sha256": digest, "id": media.id}
    if url.startswith("http"):
        found["url"] = url
    if caption and kind not in ("audio", "sticker"):
        found = {"caption": caption, **found}
    if kind == "document":
        found["filename"] = media.file.looks.name or "file"
    if kind == "audio":
        found["voice"] = media.voice
    if kind == "sticker":
        found["animated"] = media.file.looks.animated
    return found


def location(latitude: float, longitude: float, name: str | None, address: str | None) -> Json:
    """A place."""
    named = {"name": name, "address": address}
    found: Json = {"latitude": latitude, "longitude": longitude}
    return {**found, **{key: given for key, given in named.items() if given is not None}}


def card(name: str, phone_number: str) -> Json:
    """An element of `contacts` in a message: somebody's card."""
    digits = phone_number.removeprefix("+")
    first, _, last = name.partition(" ")
    full: Json = {"formatted_name": name, "first_name": first, **({"last_name": last} if last else {})}
    vcard = f"BEGIN:VCARD\nVERSION:3.0\nFN:{name}\nTEL;type=CELL;waid={digits}:+{digits}\nEND:VCARD"
    phone: Json = {"phone": f"+{digits}", "wa_id": digits, "type": "CELL"}
    return {"vcard": vcard, "name": full, "phones": [phone]}


def context(number: Number, quoted: PhoneMessage | None, message_id: str) -> Json:
    """What an answer refers to: whose message it was, and which."""
    ours = quoted is None or not quoted.from_client
    return {**({"from": number.account.digits} if ours else {}), "id": message_id}


def _entries(kind: str, changes: Sequence[Change]) -> Iterable[Json]:
    if kind == "entries":
        return [{"id": c.waba_id, "changes": [{"field": c.field, "value": c.value}]} for c in changes]
    joined = _joined(changes) if kind == "messages" else list(changes)
    by_waba: list[tuple[str, list[Change]]] = []
    for change in joined:
        if not by_waba or by_waba[-1][0] != change.waba_id:
            by_waba.append((change.waba_id, []))
        by_waba[-1][1].append(change)
    return [
        {"id": waba_id, "changes": [{"field": c.field, "value": c.value} for c in some]}
        for waba_id, some in by_waba
    ]


def _joined(changes: Sequence[Change]) -> list[Change]:
    """Neighbours of one number, field and shape become one change; the same person stands there once."""
    found: list[Change] = []
    for change in changes:
        last = found[-1] if found else None
        alike = (
            last is not None
            and (last.waba_id, last.field) == (change.waba_id, change.field)
            and last.value.get("metadata") == change.value.get("metadata")
            and last.value.keys() == change.value.keys()
        )
        if last is None or not alike:
            found.append(Change(change.waba_id, change.field, dict(change.value)))
            continue
        for key, more in change.value.items():
            have = last.value[key]
            if isinstance(have, list) and isinstance(more, list):
                fresh = more if key != "contacts" else [one for one in more if one not in have]
                last.value[key] = [*have, *fresh]
    return found


def _status(about: PhoneMessage, state: str, at: float, recipient: Json) -> Json:
    one: Json = {"id": about.id, "status": state, "timestamp": _seconds(at), **recipient}
    return one if about.opaque is None else {**one, "biz_opaque_callback_data": about.opaque}


def _seconds(at: float) -> str:
    return str(int(at))


def _base64(digest: bytes) -> str:
    return b64encode(digest).decode()
