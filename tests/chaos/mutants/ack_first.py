"""inbox with its safety net cut: it acknowledges before it writes. The checker must see the loss."""

from __future__ import annotations

from collections.abc import Sequence

from inbox.app import build
from msgkit.runtime.partition_reader import PartitionReader, _Taken
from msgkit.runtime.service import run

_acknowledge = PartitionReader._acknowledge
_together = PartitionReader._together


async def acknowledge_then_write(self: PartitionReader, batch: Sequence[_Taken]) -> None:
    await _acknowledge(self, batch)
    await _together(self, batch)


async def too_late(self: PartitionReader, batch: Sequence[_Taken]) -> None:
    """The acknowledgement after the write: it went out already."""


PartitionReader._together = acknowledge_then_write  # type: ignore[method-assign]  # that is the mutation
PartitionReader._acknowledge = too_late  # type: ignore[method-assign]  # that is the mutation

if __name__ == "__main__":
    run(build)
