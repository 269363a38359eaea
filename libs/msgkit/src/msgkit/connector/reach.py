"""One door for "MongoDB is away": driver errors become StoreUnavailable, which every caller knows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from msgkit.runtime.mongo import STORE_ERRORS, StoreUnavailable


@contextmanager
def store_reached(what: str) -> Iterator[None]:
    """Turn driver errors of the block into StoreUnavailable.

    Args:
        what: the collection, for the log.
    """
    try:
        yield
    except STORE_ERRORS as exc:
        raise StoreUnavailable(
            f"{what}: MongoDB does not answer ({type(exc).__name__}). Is it running? `make status` tells."
        ) from exc
