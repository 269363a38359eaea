"""inbox with its safety net cut: what it gets counts as acknowledged before it is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aiormq.channel import Channel

from inbox.app import build
from msgkit.runtime.partition_reader import PartitionReader, _Taken
from msgkit.runtime.service import run

_consume = Channel.basic_consume


async def consume_as_acknowledged(self: Channel, queue: str, *arguments: Any, **options: Any) -> Any:
    return await _consume(self, queue, *arguments, **{**options, "no_ack": True})


async def too_late(self: PartitionReader, batch: Sequence[_Taken]) -> None:
    """The acknowledgement after the write: there is nothing left to acknowledge."""


setattr(Channel, "basic_consume", consume_as_acknowledged)  # noqa: B010  # the mutation
PartitionReader._acknowledge = too_late  # type: ignore[method-assign]  # the mutation

if __name__ == "__main__":
    run(build)
