"""Secrets at rest: AES-256-GCM envelopes bound to tenant, channel and field."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_VERSION = "v1"
_NONCE_BYTES = 12
_KEY_BYTES = 32


class EnvelopeInvalid(Exception):
    """A stored secret cannot be opened: another key, another place, or it was changed."""


class Keyring:
    """Opens with any of its keys, seals with the primary one."""

    def __init__(self, primary: str, keys: Mapping[str, str]) -> None:
        """
        Args:
            primary: id of the key that seals.
            keys: key id → base64 of 32 bytes.

        Raises:
            ValueError: a key is not 32 bytes of base64, or the primary is not among them.
        """
        if primary not in keys:
            raise ValueError(
                f"ROZMOVA_CREDENTIAL_KEYS: there is no key for the primary id {primary!r}. Add it."
            )
        self._primary = primary
        self._keys = {kid: AESGCM(_key_bytes(kid, key)) for kid, key in keys.items()}

    def seal(self, secret: str, *, tenant_id: str, channel_id: str, field: str) -> str:
        """An envelope `v1.<key id>.<nonce>.<ciphertext>` that opens only in the same place."""
        nonce = os.urandom(_NONCE_BYTES)
        bound = _bound(tenant_id, channel_id, field, self._primary)
        sealed = self._keys[self._primary].encrypt(nonce, secret.encode(), bound)
        return ".".join((_VERSION, self._primary, _b64(nonce), _b64(sealed)))

    def open(self, envelope: str, *, tenant_id: str, channel_id: str, field: str) -> str:
        """The secret.

        Raises:
            EnvelopeInvalid: wrong key, wrong place, or a changed envelope.
        """
        parts = envelope.split(".")
        if len(parts) != 4 or parts[0] != _VERSION:
            raise EnvelopeInvalid("not an envelope of version v1")
        _, kid, nonce, sealed = parts
        key = self._keys.get(kid)
        if key is None:
            raise EnvelopeInvalid(f"no key {kid!r}: put it back into ROZMOVA_CREDENTIAL_KEYS")
        try:
            opened = key.decrypt(_unb64(nonce), _unb64(sealed), _bound(tenant_id, channel_id, field, kid))
        except (InvalidTag, binascii.Error, ValueError) as exc:
            raise EnvelopeInvalid(f"field {field!r} of channel {channel_id!r} does not open") from exc
        return opened.decode()


def _bound(tenant_id: str, channel_id: str, field: str, kid: str) -> bytes:
    return "|".join((tenant_id, channel_id, field, kid)).encode()


def _b64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode()


def _unb64(value: str) -> bytes:
    return base64.b64decode(value, altchars=b"-_", validate=True)


def _key_bytes(kid: str, value: str) -> bytes:
    if not kid or "." in kid or "|" in kid:
        raise ValueError(
            f"ROZMOVA_CREDENTIAL_KEYS: the key id {kid!r} must not be empty nor hold '.' or '|'."
        )
    try:
        key = base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != _KEY_BYTES:
        raise ValueError(f"ROZMOVA_CREDENTIAL_KEYS: the key {kid!r} must be the base64 of 32 bytes.")
    return key
