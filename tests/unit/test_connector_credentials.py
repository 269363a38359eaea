"""Stored secrets open only with their key and only in their place."""

from __future__ import annotations

import base64

import pytest

from msgkit.connector.credentials import EnvelopeInvalid, Keyring

OLD, NEW = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
PLACE = {"tenant_id": "salon", "channel_id": "c1", "field": "token"}


def test_secret_opens_in_its_place() -> None:
    ring = Keyring("k1", {"k1": OLD})
    envelope = ring.seal("7:canary", **PLACE)
    assert envelope.startswith("v1.k1.")
    assert "canary" not in envelope
    assert ring.open(envelope, **PLACE) == "7:canary"
    assert ring.seal("7:canary", **PLACE) != envelope, "a nonce is used once"


@pytest.mark.parametrize(
    "moved", [{"tenant_id": "clinic"}, {"channel_id": "c2"}, {"field": "webhook_secret"}]
)
def test_envelope_moved_to_another_place_does_not_open(moved: dict[str, str]) -> None:
    ring = Keyring("k1", {"k1": OLD})
    with pytest.raises(EnvelopeInvalid):
        ring.open(ring.seal("7:canary", **PLACE), **{**PLACE, **moved})


def test_old_key_opens_and_the_primary_seals() -> None:
    sealed_before = Keyring("k1", {"k1": OLD}).seal("7:canary", **PLACE)
    ring = Keyring("k2", {"k1": OLD, "k2": NEW})
    assert ring.open(sealed_before, **PLACE) == "7:canary"
    assert ring.seal("7:canary", **PLACE).startswith("v1.k2.")
    with pytest.raises(EnvelopeInvalid, match="put it back"):
        Keyring("k2", {"k2": NEW}).open(sealed_before, **PLACE)


@pytest.mark.parametrize("envelope", ["", "v1.k1", "v2.k1.a.b", "v1.k1.!!.b", "v1.k1.AAAA.AAAA", "v1..a.b"])
def test_garbage_does_not_open(envelope: str) -> None:
    with pytest.raises(EnvelopeInvalid):
        Keyring("k1", {"k1": OLD}).open(envelope, **PLACE)


@pytest.mark.parametrize(
    ("primary", "keys"),
    [("k1", {}), ("k1", {"k2": OLD}), ("k1", {"k1": ""}), ("k1", {"k1": "AAAA"}), ("k.1", {"k.1": OLD})],
)
def test_unusable_keys_are_refused_at_start(primary: str, keys: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="ROZMOVA_CREDENTIAL_KEYS"):
        Keyring(primary, keys)
