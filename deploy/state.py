"""The folder `.rozmova/`: where each thing lies, which ports are taken, and the secrets made once."""

from __future__ import annotations

import base64
import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bootstrap import ROOT, Problem
from msgkit.testing.processes import free_port, write_private
from msgkit.testing.servers import RabbitMQPorts

STATE = ROOT / ".rozmova"
_SYLLABLES = [first + second for first in "bdfgklmnprstz" for second in "aou"]


@dataclass(frozen=True)
class Ports:
    """All ports follow from one base, so that two clones can run side by side."""

    base: int
    file: Path = STATE / "ports.json"
    """Remembers the base of the last `make up` and the ports of single replicas."""

    @classmethod
    def from_environment(cls, *, running: bool) -> Ports:
        """The base of ROZMOVA_PORT_BASE, else that of the system while it runs, else 8080."""
        word = os.environ.get("ROZMOVA_PORT_BASE") or str((running and cls(8080).last_base()) or 8080)
        if not word.isdecimal() or not 1024 <= int(word) <= 63_000:
            raise Problem(f"ROZMOVA_PORT_BASE={word!r} must be a number from 1024 to 63000.")
        return cls(int(word))

    @property
    def rabbitmq(self) -> RabbitMQPorts:
        """The broker's ports; Prometheus reads it, nobody administrates it over HTTP."""
        base = self.base
        return RabbitMQPorts(base + 2010, base + 2011, base + 2012, prometheus=base + 2015)

    @property
    def mongodb(self) -> int:
        return self.base + 2017

    def public(self, offset: int) -> int:
        return self.base + offset

    def internal(self, offset: int) -> int:
        return self.base + 1000 + offset

    def of_replica(self, name: str) -> int:
        """A port of one replica alone: chosen once, kept."""
        memory = self._remembered()
        replicas = memory.setdefault("replicas", {})
        if name not in replicas:
            # What follows from the base is taken, even while nobody listens there.
            taken = {*range(self.base, self.base + 2100), *replicas.values()}
            replicas[name] = next(port for port in iter(free_port, None) if port not in taken)
            self._write(memory)
        return int(replicas[name])

    def last_base(self) -> int | None:
        """The base of the last `make up`; None before the first."""
        base = self._remembered().get("base")
        return base if isinstance(base, int) else None

    def remember(self) -> None:
        """Writes the base down; another base than the last one moves the replicas too."""
        if self.last_base() != self.base:
            self._write({"base": self.base})

    def _remembered(self) -> dict[str, Any]:
        return dict(json.loads(self.file.read_text())) if self.file.exists() else {}

    def _write(self, memory: Mapping[str, object]) -> None:
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(memory, indent=1) + "\n")


@dataclass(frozen=True)
class Secrets:
    """Passwords and keys of this machine, made at the first `make up`, readable by the owner only."""

    values: Mapping[str, str]

    @classmethod
    def load(cls, file: Path = STATE / "secrets.env") -> Secrets:
        """Reads the file and adds what is not in it yet."""
        lines = file.read_text().splitlines() if file.exists() else []
        values = dict(line.split("=", 1) for line in lines if "=" in line)
        known = len(values)
        ingests = ("ingest-telegram", "ingest-viber", "ingest-whatsapp", "ingest-meta")
        for service in ("gateway", "inbox", *ingests):
            values.setdefault(f"SERVICE_KEY_{service}", _random_key())
        values.setdefault("SESSION_KEY", _random_key())
        values.setdefault("RABBITMQ_PASSWORD", secrets.token_urlsafe(24))
        values.setdefault("CREDENTIAL_KEY", _random_key())
        values.setdefault("CREDENTIAL_KEY_ingest-viber", _random_key())
        values.setdefault("CREDENTIAL_KEY_ingest-whatsapp", _random_key())
        values.setdefault("CREDENTIAL_KEY_ingest-meta", _random_key())
        for tenant in ("salon", "clinic"):
            bot_id = secrets.randbelow(9_000_000_000) + 1_000_000_000
            values.setdefault(f"BOT_TOKEN_{tenant}", f"{bot_id}:{secrets.token_urlsafe(26)}")
        # As Viber writes its tokens: three groups of 16 hex digits.
        viber_token = "-".join(secrets.token_hex(8) for _ in range(3))
        values.setdefault("VIBER_TOKEN_salon", viber_token)
        # The apps at Meta: an app's secret signs, its verify token opens the callback. Instagram Login has an
        # app of its own beside the one of WhatsApp numbers and pages. Then the accounts' own tokens.
        for app in ("META", "INSTAGRAM"):
            values.setdefault(f"{app}_APP_SECRET", secrets.token_hex(16))
            values.setdefault(f"{app}_VERIFY_TOKEN", secrets.token_urlsafe(16))
        values.setdefault("WHATSAPP_TOKEN_salon", f"EAA{secrets.token_hex(40)}")
        values.setdefault("PAGE_TOKEN_salon", f"EAA{secrets.token_hex(40)}")
        values.setdefault("INSTAGRAM_TOKEN_clinic", f"IGAA{secrets.token_hex(40)}")
        for login in ("olena", "ivan", "viktor", "nobody", "maria"):
            values.setdefault(f"PASSWORD_{login}", _password())
        if len(values) != known:
            write_private(file, "".join(f"{key}={value}\n" for key, value in values.items()))
        return cls(values)

    def service_key(self, service: str) -> str:
        return self.values[f"SERVICE_KEY_{service}"]

    def service_public_keys(self) -> dict[str, str]:
        """The public half of every service's key, by service."""
        return {
            name.removeprefix("SERVICE_KEY_"): _public_half(key)
            for name, key in self.values.items()
            if name.startswith("SERVICE_KEY_")
        }

    def credential_keys(self, service: str) -> dict[str, object]:
        """What seals the accounts of one ingest service; no other can open them."""
        # The first one's key has no name of a service: installations of before have it.
        key = self.values.get(f"CREDENTIAL_KEY_{service}", self.values["CREDENTIAL_KEY"])
        return {"primary": "k1", "keys": {"k1": key}}


def _random_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


def _public_half(seed: str) -> str:
    key = Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed)).public_key()
    return base64.b64encode(key.public_bytes_raw()).decode()


def _password() -> str:
    """Easy to type and to say: four syllables and four digits."""
    word = "".join(secrets.choice(_SYLLABLES) for _ in range(4))
    return f"{word}-{secrets.randbelow(9000) + 1000}"
