"""Derived ids stay what they are for ever: stored conversations and deduplication stand on them."""

from __future__ import annotations

import uuid

from hypothesis import given
from hypothesis import strategies as st

from msgkit.contracts.ids import PARTITIONS, conversation_id, derived_id, partition_of

NAMESPACE = uuid.UUID("6b1f2d0e-5d0c-4c5e-9a43-7a1d2f0b8e11")
PARTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5)


@given(PARTS)
def test_a_derived_id_is_the_uuid5_of_its_parts(parts: list[str]) -> None:
    assert derived_id(*parts) == uuid.uuid5(NAMESPACE, "\x1f".join(parts)).hex


def test_an_id_made_in_the_first_version_is_made_the_same_way_today() -> None:
    assert conversation_id("c1", "501") == uuid.uuid5(NAMESPACE, "conversation\x1fc1\x1f501").hex
    assert derived_id("a", "bc") != derived_id("ab", "c")


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_key_has_a_partition(key: str) -> None:
    assert partition_of(key) in range(PARTITIONS)
