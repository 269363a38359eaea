"""Settings of inbox; read by app.py and cli.py only."""

from __future__ import annotations

from msgkit.runtime.settings import ServiceSettings


class Settings(ServiceSettings):
    """Inbox needs nothing beyond what every service needs."""
