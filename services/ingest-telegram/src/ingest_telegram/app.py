"""ingest-telegram: how the service is put together."""

from __future__ import annotations

from ingest_telegram.client import TelegramClient
from ingest_telegram.connector import KIND, TelegramBotConnector
from ingest_telegram.settings import Settings
from msgkit.connector.ingest import build_ingest
from msgkit.runtime.service import Service, run


def build() -> Service:
    """The service, wired and not yet running."""
    return build_ingest(TelegramBotConnector(TelegramClient(KIND)), Settings())


if __name__ == "__main__":
    run(build)
