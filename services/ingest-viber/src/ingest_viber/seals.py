"""Marks of ours on what lies at the client and comes back: only we can make one, for one client. Pure."""

from __future__ import annotations

import base64
import hmac

from msgkit.connector.contract import Account

_PURPOSE = b"rozmova viber seals v1"
_MAC_BYTES = 16


def seal(account: Account, contact_key: str, said: str) -> str:
    """The mark of this text for this client of this bot: 22 characters, letters, digits, `-` and `_`.

    Args:
        account: the bot; its token makes the key.
        contact_key: whose the text is: nobody else can use it.
        said: what must not be changed.
    """
    key = hmac.digest(account.credentials["token"].encode(), _PURPOSE, "sha256")
    mac = hmac.digest(key, f"{contact_key}\x1f{said}".encode(), "sha256")[:_MAC_BYTES]
    return base64.urlsafe_b64encode(mac).decode().rstrip("=")


def is_sealed(account: Account, contact_key: str, said: str, mark: str) -> bool:
    """Whether the mark is ours; compared in constant time."""
    if not account.credentials.get("token"):
        return False
    return hmac.compare_digest(seal(account, contact_key, said).encode(), mark.encode())
