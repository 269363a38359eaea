"""`dataclass` for values made in great numbers: frozen for the type checker, cheap to make when it runs.

Python makes a frozen dataclass by `object.__setattr__`, field by field, at three times the price. Every
message makes a dozen values; this was 8 % of what one costs inbox (ADR 10). mypy runs strictly over all of
our code, so what it forbids does not happen.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass
else:

    def dataclass(cls: type | None = None, /, *, frozen: bool = False, **options: Any) -> Any:
        """Like `dataclasses.dataclass`; `frozen` keeps equality and hash and drops the guard."""
        return dataclasses.dataclass(cls, unsafe_hash=frozen, **options)


__all__ = ["dataclass"]
