"""The processes of a test system before they run: ports, addresses, keys and environments of each."""

from __future__ import annotations

import base64
import json
import os
import secrets
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from msgkit.testing import demo
from msgkit.testing.processes import DetachedProcess, free_port, write_private

SERVICES = ("inbox", "ingest-telegram", "gateway")
"""What every test of the whole needs; further messengers are named by those that speak them."""
API_PATHS = {
    "ingest-telegram": ("",),
    "ingest-viber": ("/viber",),
    "ingest-whatsapp": ("/graph",),
    "ingest-meta": ("/graph-meta", "/graph-instagram"),
}
"""Where below the sandbox's address the APIs of each service's messengers begin."""
_META_APPS = {"ingest-whatsapp": (demo.WHATSAPP_NUMBER,), "ingest-meta": demo.META_APPS}
_INHERITED = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")


@dataclass
class Part:
    """One process."""

    process: DetachedProcess
    argv: list[str]
    environment: dict[str, str]
    ready_url: str
    service: str

    def launch(self, folder: Path) -> None:
        """Start it; its files without a path of their own are in `folder`."""
        self.process.start(self.argv, env=self.environment, cwd=folder)


@dataclass
class Plan:
    """What a system consists of, and where it answers."""

    sandbox_url: str
    parts: dict[str, Part] = field(default_factory=dict)
    public_urls: dict[str, str] = field(default_factory=dict)
    """By service; replicas share it."""


class Planner:
    """Makes the plan of one system.

    Args:
        folder: of data and logs.
        servers: environment variables that say where RabbitMQ and MongoDB are.
        replicas, environment: as `System` has them.
    """

    def __init__(
        self,
        folder: Path,
        servers: Mapping[str, str],
        *,
        replicas: Mapping[str, int],
        environment: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._servers = servers
        self._replicas = replicas
        self._environment = environment
        self._session_key = _b64(secrets.token_bytes(32))
        self._credential_keys = json.dumps({"primary": "k1", "keys": {"k1": _b64(secrets.token_bytes(32))}})
        self._users = folder / "users.json"

    def plan(self, services: Sequence[str]) -> Plan:
        """The sandbox, and these services in this order: inbox before the gateway, which must know it."""
        keys = {name: secrets.token_bytes(32) for name in {*SERVICES, *services}}
        public_keys = json.dumps({name: _public_key(seed) for name, seed in keys.items()})
        accounts = [vars(account) for account in demo.ACCOUNTS]
        write_private(self._users, json.dumps({"tenants": demo.TENANTS, "users": accounts}))
        plan = Plan(sandbox_url=_loopback(free_port()))
        plan.parts["sandbox"] = self._part("sandbox", "sandbox", _sandbox(plan.sandbox_url), plan.sandbox_url)
        inbox_url = ""
        for service in services:
            internal_url, public_url = _loopback(free_port()), _loopback(free_port())
            plan.public_urls[service] = public_url
            if service == "inbox":
                inbox_url = internal_url
            shared = {
                **self._servers,
                "ROZMOVA_INTERNAL_PORT": _port(internal_url),
                "ROZMOVA_INTERNAL_URL": internal_url,
                "ROZMOVA_SERVICE_KEY": _b64(keys[service]),
                "ROZMOVA_SERVICE_PUBLIC_KEYS": public_keys,
                "ROZMOVA_TRACES_DIR": str(self._folder / "traces"),
                # Nobody deals out connections by readiness here.
                "ROZMOVA_UNREADY_SECONDS": "0.2",
                **self._own(service, public_url, inbox_url, plan.sandbox_url),
            }
            count = self._replicas.get(service, 1)
            for number in range(1, count + 1):
                name = service if number == 1 else f"{service}-{number}"
                own_url, environment = internal_url, {**shared, "ROZMOVA_INSTANCE": name}
                if count > 1:
                    own_url = _loopback(free_port())
                    environment |= {"ROZMOVA_SHARED_PORTS": "true", "ROZMOVA_OWN_PORT": _port(own_url)}
                plan.parts[name] = self._part(name, service, environment | dict(self._environment), own_url)
        return plan

    def _own(self, service: str, public_url: str, inbox_url: str, sandbox_url: str) -> dict[str, str]:
        """What not every service has."""
        if service == "inbox":
            return {}
        environment = {
            "ROZMOVA_PUBLIC_PORT": _port(public_url),
            "ROZMOVA_OBJECTS_URL": (self._folder / "objects").as_uri(),
        }
        if service == "gateway":
            return environment | {
                "ROZMOVA_INBOX_URL": inbox_url,
                "ROZMOVA_SESSION_KEY": self._session_key,
                "ROZMOVA_USERS_FILE": str(self._users),
            }
        environment |= {
            "ROZMOVA_PUBLIC_URL": public_url,
            "ROZMOVA_API_BASES": json.dumps([sandbox_url + path for path in API_PATHS[service]]),
            "ROZMOVA_CREDENTIAL_KEYS": self._credential_keys,
        }
        apps = _META_APPS.get(service, ())
        if apps:
            environment["ROZMOVA_META_APP_SECRETS"] = json.dumps([app["app_secret"] for app in apps])
            environment["ROZMOVA_META_VERIFY_TOKENS"] = json.dumps([app["verify_token"] for app in apps])
        if service == "ingest-meta":
            # Its watchdog looks every 15 minutes; no test has so much time.
            environment["ROZMOVA_HEALTH_EVERY_S"] = "2"
        return environment

    def _part(self, name: str, service: str, environment: dict[str, str], base_url: str) -> Part:
        log_file = self._folder / "log" / f"{name}.log"
        process = DetachedProcess(name, self._folder / f"{name}.pid", log_file)
        inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
        ready_url = f"{base_url}/health/ready"
        return Part(process, program_of(service), inherited | environment, ready_url, service)


def program_of(service: str) -> list[str]:
    """What runs as a service: its module."""
    return [sys.executable, "-m", f"{service.replace('-', '_')}.app"]


def _sandbox(url: str) -> dict[str, str]:
    return {
        "ROZMOVA_PUBLIC_PORT": _port(url),
        "ROZMOVA_SANDBOX_BOTS": json.dumps([*demo.BOTS.values(), *demo.SPARE_BOTS]),
        "ROZMOVA_SANDBOX_VIBER_BOTS": json.dumps([demo.VIBER_BOT]),
        "ROZMOVA_SANDBOX_WHATSAPP_NUMBERS": json.dumps([demo.WHATSAPP_NUMBER]),
        "ROZMOVA_SANDBOX_PAGES": json.dumps([demo.PAGE]),
        "ROZMOVA_SANDBOX_INSTAGRAM_ACCOUNTS": json.dumps([demo.INSTAGRAM, demo.INSTAGRAM_BY_LOGIN]),
        "ROZMOVA_SANDBOX_RETRY_DIVISOR": "10",
    }


def _loopback(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def _port(url: str) -> str:
    return url.rpartition(":")[2]


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _public_key(seed: bytes) -> str:
    return _b64(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
