"""Proofs that a webhook or a handshake is the provider's, by the scheme of the WebSub family. Pure.

Meta uses it for all its products: `X-Hub-Signature-256` over the raw bytes, and `hub.challenge`. Source: fact
sheet of Meta, 1.1, «Handshake», «Signature».
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import parse_qsl

from msgkit.connector.contract import WebhookRequest
from msgkit.connector.errors import SignatureInvalid

SIGNATURE_HEADER: Final = b"x-hub-signature-256"

_SCHEME = b"sha256="
_CHALLENGE = re.compile(r"[A-Za-z0-9_.~-]{1,200}")
"""Meta's is a number; it goes back to whoever knows the token, so nothing but such words."""


def signed_by(secrets: Sequence[str], request: WebhookRequest) -> None:
    """HMAC-SHA256 of the raw bytes by one of the app's secrets.

    The bytes must be those of the wire: Meta signs its own escaped form of the JSON.

    Raises:
        SignatureInvalid: none of them signed it, or there is none.
    """
    given = request.headers.get(SIGNATURE_HEADER, b"")
    if not given.startswith(_SCHEME):
        raise SignatureInvalid
    given = given.removeprefix(_SCHEME)
    wanted = [hmac.new(secret.encode(), request.body, "sha256").hexdigest() for secret in secrets if secret]
    # All are compared, so the time does not tell which one is right.
    if not sum(hmac.compare_digest(given, one.encode()) for one in wanted):
        raise SignatureInvalid


def challenge_of(query: bytes, tokens: Sequence[str]) -> bytes:
    """What `hub.challenge` of a handshake asks to be given back.

    Args:
        query: of the address, as it came.
        tokens: the words we gave the provider; any of them may stand there.

    Raises:
        SignatureInvalid: it is no handshake, or not with a token of ours.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, encoding="utf-8", errors="replace")
    found = dict(pairs)
    if len(found) != len(pairs) or found.get("hub.mode") != "subscribe":
        raise SignatureInvalid
    given = found.get("hub.verify_token", "").encode()
    if not sum(hmac.compare_digest(given, token.encode()) for token in tokens if token):
        raise SignatureInvalid
    challenge = found.get("hub.challenge", "")
    if not _CHALLENGE.fullmatch(challenge):
        raise SignatureInvalid
    return challenge.encode()
