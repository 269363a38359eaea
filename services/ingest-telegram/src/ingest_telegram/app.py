"""ingest-telegram: how the service is put together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import BaseModel

from ingest_telegram.settings import Settings
from msgkit.connector.ingest import build_ingest
from msgkit.runtime.objects import ObjectStore
from msgkit.runtime.service import Service, run


def build() -> Service:
    """The service, wired and not yet running."""
    with _models_built_when_used():
        from ingest_telegram.client import TelegramClient
        from ingest_telegram.connector import KIND, TelegramBotConnector
    settings = Settings()
    client = TelegramClient(KIND, ObjectStore(settings.objects_url))
    return build_ingest(TelegramBotConnector(client), settings)


@contextmanager
def _models_built_when_used() -> Iterator[None]:
    """Import aiogram without building its models.

    It builds validators for all its 300 models when it is imported: 110 MB and 3 seconds, more than the rest
    of the service. We use a few of its methods, and `TelegramClient` builds these. Here and not beside the
    import, because it concerns the whole process: others may want all of aiogram.
    """
    real = BaseModel.__dict__["model_rebuild"]

    def later(cls: type[BaseModel], /, **options: Any) -> bool | None:
        if cls.__module__.startswith("aiogram."):
            return None
        rebuilt: bool | None = real.__get__(None, cls)(**options)
        return rebuilt

    BaseModel.model_rebuild = classmethod(later)  # type: ignore[method-assign, assignment]  # given back below
    try:
        yield
    finally:
        BaseModel.model_rebuild = real  # type: ignore[method-assign]


if __name__ == "__main__":
    run(build)
