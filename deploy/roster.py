"""Which services exist, on which ports and with which environment each process runs."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bootstrap import ROOT, Problem, fingerprint
from demo_people import (
    USERS_FILE,
    sandbox_bots,
    sandbox_instagram_accounts,
    sandbox_pages,
    sandbox_viber_bots,
    sandbox_whatsapp_numbers,
)
from state import STATE, Ports, Secrets


@dataclass(frozen=True)
class Service:
    """One service of the system; an offset None means it has no such port."""

    name: str
    source: Path
    public: int | None
    internal: int | None

    @property
    def package(self) -> str:
        return self.name.replace("-", "_")

    @property
    def exists(self) -> bool:
        return (self.source / "src" / self.package / "app.py").exists()


@dataclass(frozen=True)
class Process:
    """One process under the supervisor: a service, or one replica of it."""

    name: str
    service: Service
    environment: Mapping[str, str]
    url: str
    """Where /health/ready answers."""


SERVICES = (
    Service("sandbox", ROOT / "libs/sandbox", 10, None),
    Service("inbox", ROOT / "services/inbox", None, 5),
    Service("ingest-telegram", ROOT / "services/ingest-telegram", 1, 1),
    Service("ingest-viber", ROOT / "services/ingest-viber", 2, 2),
    Service("ingest-meta", ROOT / "services/ingest-meta", 3, 3),
    Service("ingest-whatsapp", ROOT / "services/ingest-whatsapp", 4, 4),
    Service("gateway", ROOT / "services/gateway", 0, 0),
)


SANDBOX_PATHS = {
    "ingest-telegram": ("",),
    "ingest-viber": ("/viber",),
    "ingest-meta": ("/graph-meta", "/graph-instagram"),
    "ingest-whatsapp": ("/graph",),
}
"""Where below the sandbox's address the APIs of each service's messengers begin."""


META_APPS = {"ingest-whatsapp": ("META",), "ingest-meta": ("META", "INSTAGRAM")}
"""Which apps at Meta serve a service's accounts, by their names in `Secrets`: Instagram Login has its own."""


@dataclass(frozen=True)
class Addresses:
    """What the services are told about the machines around them."""

    rabbitmq: str
    mongodb: str


def parse_scale(text: str) -> dict[str, int]:
    """Reads `inbox=2 gateway=2`.

    Raises:
        Problem: an unknown service or no number from 1 to 16 (there are 16 partitions).
    """
    scale = {}
    for word in text.split():
        name, _, count = word.partition("=")
        known = [service.name for service in SERVICES if service.name != "sandbox"]
        if name not in known or not count.isdecimal() or not 1 <= int(count) <= 16:
            raise Problem(f"SCALE: {word!r} is not <service>=<1 to 16>; services: {', '.join(known)}.")
        scale[name] = int(count)
    return scale


def plan(ports: Ports, secrets: Secrets, addresses: Addresses, scale: Mapping[str, int]) -> list[Process]:
    """Every process that `make up` runs, in the order of the start."""
    processes = []
    for service in SERVICES:
        for number in range(1, scale.get(service.name, 1) + 1) if service.exists else ():
            name = service.name if number == 1 else f"{service.name}-{number}"
            own = _own_ports(service, ports, name, shared=scale.get(service.name, 1) > 1)
            environment = {
                **_common(service, name, own),
                **_own_environment(service, ports, secrets, addresses, own),
            }
            answers = own.get("own") or own.get("internal") or own["public"]
            processes.append(Process(name, service, environment, f"http://127.0.0.1:{answers}"))
    return processes


def _own_ports(service: Service, ports: Ports, name: str, *, shared: bool) -> dict[str, int]:
    own = {}
    if service.public is not None:
        own["public"] = ports.public(service.public)
    if service.internal is not None:
        own["internal"] = ports.internal(service.internal)
    if shared:
        # The replicas of a service listen on the same ports, and each has one where it alone answers.
        own["own"] = ports.of_replica(f"{name}.own")
    return own


def _common(service: Service, name: str, own: Mapping[str, int]) -> dict[str, str]:
    environment = {
        "ROZMOVA_HOST": "127.0.0.1",
        "ROZMOVA_INSTANCE": name,
        "ROZMOVA_LOG_LEVEL": os.environ.get("ROZMOVA_LOG_LEVEL", "INFO"),
        # On one machine nobody deals out connections by readiness.
        "ROZMOVA_UNREADY_SECONDS": "0.2",
        # Changes with the code: that is how `make up` knows which services to restart.
        "ROZMOVA_BUILD": _build_of(service),
    }
    for kind, port in own.items():
        environment[f"ROZMOVA_{kind.upper()}_PORT"] = str(port)
    if "own" in own:
        environment["ROZMOVA_SHARED_PORTS"] = "true"
    return environment


def _own_environment(
    service: Service, ports: Ports, secrets: Secrets, addresses: Addresses, own: Mapping[str, int]
) -> dict[str, str]:
    sandbox = f"http://127.0.0.1:{ports.public(10)}"
    if service.name == "sandbox":
        return {
            "ROZMOVA_SANDBOX_BOTS": _json(sandbox_bots(secrets)),
            "ROZMOVA_SANDBOX_VIBER_BOTS": _json(sandbox_viber_bots(secrets)),
            "ROZMOVA_SANDBOX_WHATSAPP_NUMBERS": _json(sandbox_whatsapp_numbers(secrets)),
            "ROZMOVA_SANDBOX_PAGES": _json(sandbox_pages(secrets)),
            "ROZMOVA_SANDBOX_INSTAGRAM_ACCOUNTS": _json(sandbox_instagram_accounts(secrets)),
            "ROZMOVA_SANDBOX_STATE": str(STATE / "data/sandbox.json"),
        }
    environment = {
        "RABBITMQ_URL": addresses.rabbitmq,
        "MONGO_URL": addresses.mongodb,
        "ROZMOVA_TRACES_DIR": str(STATE / "traces"),
        "ROZMOVA_SERVICE_KEY": secrets.service_key(service.name),
        "ROZMOVA_SERVICE_PUBLIC_KEYS": _json(secrets.service_public_keys()),
        "ROZMOVA_INTERNAL_URL": f"http://127.0.0.1:{own['internal']}",
    }
    if service.name == "gateway" or service.name.startswith("ingest-"):
        environment["ROZMOVA_OBJECTS_URL"] = (STATE / "data/objects").as_uri()
    if service.name.startswith("ingest-"):
        assert service.public is not None
        environment |= {
            "ROZMOVA_PUBLIC_URL": f"http://127.0.0.1:{ports.public(service.public)}",
            "ROZMOVA_API_BASES": _json([sandbox + path for path in SANDBOX_PATHS[service.name]]),
            "ROZMOVA_CREDENTIAL_KEYS": _json(secrets.credential_keys(service.name)),
        }
    if service.name in META_APPS:
        apps = META_APPS[service.name]
        environment |= {
            "ROZMOVA_META_APP_SECRETS": _json([secrets.values[f"{app}_APP_SECRET"] for app in apps]),
            "ROZMOVA_META_VERIFY_TOKENS": _json([secrets.values[f"{app}_VERIFY_TOKEN"] for app in apps]),
        }
    if service.name == "gateway":
        origins = [f"http://{host}:{own['public']}" for host in ("127.0.0.1", "localhost")]
        environment |= {
            "ROZMOVA_INBOX_URL": f"http://127.0.0.1:{ports.internal(5)}",
            "ROZMOVA_SESSION_KEY": secrets.values["SESSION_KEY"],
            "ROZMOVA_USERS_FILE": str(USERS_FILE),
            "ROZMOVA_ALLOWED_ORIGINS": _json(origins),
        }
    return environment


def _build_of(service: Service) -> str:
    sources = list((service.source / "src").rglob("*.py"))
    if service.name != "sandbox":
        sources += (ROOT / "libs/msgkit/src").rglob("*.py")
    return fingerprint(sources)[:16]


def _json(value: object) -> str:
    # ASCII without apostrophes: the value goes through supervisord's quotes unchanged.
    return json.dumps(value, separators=(",", ":")).replace("'", "\\u0027")
