"""The whole system on ports and folders of its own: for end-to-end tests, faults and measuring.

Every part is a real process: RabbitMQ, MongoDB, the sandbox, the services. Like the supervisor of
`make up`, `keep_alive` starts again what has died.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from msgkit.testing.processes import DetachedProcess, ServerFailed, free_port, write_private
from msgkit.testing.servers import MongoServer, RabbitMQPorts, RabbitMQServer

READY_WITHIN_S = 60.0
_POLL_S = 0.05

SERVICES = ("inbox", "ingest-telegram", "gateway")
"""What every test of the whole needs; further messengers are named by those that speak them."""
MESSENGERS = {
    "ingest-telegram": ("telegram_bot", ""),
    "ingest-viber": ("viber_bot", "/viber"),
    "ingest-whatsapp": ("whatsapp", "/graph"),
}
"""Service → its kind, and where below the sandbox's address its API begins."""
_PACKAGES = {
    "inbox": "inbox",
    "ingest-telegram": "ingest_telegram",
    "ingest-viber": "ingest_viber",
    "ingest-whatsapp": "ingest_whatsapp",
    "gateway": "gateway",
    "sandbox": "sandbox",
}

TENANTS = (
    {"id": "salon", "title": "Салон краси «Мавка»"},
    {"id": "clinic", "title": "Клініка «Здоров'я»"},
)


@dataclass(frozen=True)
class Account:
    """A login of the embedded users."""

    id: str
    tenant: str
    login: str
    name: str
    password: str
    roles: tuple[str, ...]


ACCOUNTS = (
    Account("u-olena", "salon", "olena", "Олена", "olena-password-1", ("admin",)),
    Account("u-ivan", "salon", "ivan", "Іван", "ivan-password-1", ("reception",)),
    Account("u-viktor", "salon", "viktor", "Віктор", "viktor-password-1", ("viber-only",)),
    Account("u-nobody", "salon", "nobody", "Никон", "nobody-password-1", ()),
    Account("u-maria", "clinic", "maria", "Марія", "maria-password-1", ("admin",)),
)
BOTS = {
    "salon": {
        "token": "7000000001:AAsalon-bot-of-the-sandbox-0123456789",
        "username": "mavka_bot",
        "name": "Мавка",
    },
    "clinic": {
        "token": "7000000002:AAclinic-bot-of-the-sandbox-012345678",
        "username": "zdorov_bot",
        "name": "Здоров'я",
    },
}


VIBER_BOT = {"token": "4453b6ac12345678-e02c5f12174805f9-daec9cbb5448c51f", "name": "Мавка", "uri": "mavka"}
"""The salon's bot at Viber."""
VIBER_WELCOME = {"text": "Вітаємо в «Мавці»!", "buttons": [{"text": "Записатися", "value": "Запис"}]}
"""What it says to whoever opens the chat."""
WHATSAPP_NUMBER: dict[str, Any] = {
    "phone_number_id": "106540352242922",
    "display_phone_number": "+380 44 555 07 83",
    "waba_id": "102290129340398",
    "token": "EAAGsalonNumberOfTheSandbox0123456789",
    "app_secret": "9e107d9d372bb6826bd81d3542a419d6",
    "verify_token": "перевір-мене",
    "name": "Мавка",
    "coexistence": True,
}
"""The salon's number at WhatsApp, which its owner uses in the Business app as well."""
SPARE_BOT = {
    "token": "7000000003:AAspare-bot-of-the-sandbox-0123456789",
    "username": "kalyna_bot",
    "name": "Калина",
}
"""A bot of the sandbox that no channel has, for tests that connect one."""


@dataclass(frozen=True)
class Left:
    """How a part ended after SIGTERM."""

    name: str
    seconds: float
    exit_code: int | None


@dataclass
class _Part:
    process: DetachedProcess
    argv: list[str]
    environment: dict[str, str]
    ready_url: str
    service: str


@dataclass
class System:
    """One running system.

    Args:
        folder: for data and logs.
        replicas: service → number of replicas, if more than one; they share the service's addresses, and the
            further ones are the parts `inbox-2`, `inbox-3`, …
        mutants: service → a script to run instead of the service, to prove that a checker bites.
        environment: more environment variables for every service.
    """

    folder: Path
    replicas: Mapping[str, int] = field(default_factory=dict)
    mutants: Mapping[str, Path] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rabbitmq = RabbitMQServer(self.folder / "rabbitmq", RabbitMQPorts.free(management=False))
        self.mongodb = MongoServer(self.folder / "mongodb")
        self.channels: dict[str, dict[str, Any]] = {}
        """tenant → its Telegram channel."""
        self.viber: dict[str, Any] = {}
        """The salon's Viber channel, if ingest-viber runs."""
        self.viber_url = ""
        self.whatsapp: dict[str, Any] = {}
        """The salon's WhatsApp channel, if ingest-whatsapp runs."""
        self.whatsapp_url = ""
        self.parts: dict[str, _Part] = {}
        self.gateway_url = ""
        self.sandbox_url = ""
        self.ingest_url = ""
        self.started: list[float] = []
        self._stopping = False

    def start(
        self, services: Sequence[str] = SERVICES, *, channels: bool = True, without: Collection[str] = ()
    ) -> None:
        """Bring everything up and connect the demo's channels; parts of `without` wait for `revive`.

        Raises:
            ServerFailed: a part did not come up; the message has the end of its log.
        """
        with ThreadPoolExecutor(2) as pool:
            for started in [pool.submit(self.rabbitmq.start), pool.submit(self.mongodb.start)]:
                started.result()
        self._plan(services)
        self._launch("sandbox")
        for name in self.parts:
            if name != "sandbox" and name not in without:
                self._launch(name)
        self.wait_ready(without=without)
        if channels:
            for tenant, bot in BOTS.items():
                self.channels[tenant] = self.connect_channel(tenant, "ingest-telegram", bot["token"])
            if "ingest-viber" in services:
                self.viber = self.connect_channel(
                    "salon", "ingest-viber", VIBER_BOT["token"], {"welcome": VIBER_WELCOME}
                )
            if "ingest-whatsapp" in services:
                self.whatsapp = self._connect_whatsapp()

    def stop(self, *, drain: bool = False) -> None:
        """End every part; with `drain` the services end by SIGTERM, else at once."""
        self._stopping = True
        for part in self.parts.values():
            if drain:
                part.process.stop()
            else:
                part.process.kill()
                part.process.stop()
        for server in (self.rabbitmq, self.mongodb):
            server.kill()
            server.stop()

    def kill(self, name: str) -> None:
        """SIGKILL one part: a service, `rabbitmq` or `mongodb`."""
        match name:
            case "rabbitmq":
                self.rabbitmq.kill()
            case "mongodb":
                self.mongodb.kill()
            case _:
                self.parts[name].process.kill()

    def leave(self, name: str) -> Left:
        """End one part by SIGTERM, as an orchestrator would, and wait until it is gone."""
        process = self.parts[name].process
        began = time.monotonic()
        process.stop()
        return Left(name, time.monotonic() - began, process.exit_code)

    def revive(self, name: str) -> None:
        """Start again what was killed or has left."""
        match name:
            case "rabbitmq":
                self.rabbitmq.start()
            case "mongodb":
                self.mongodb.start()
            case _:
                if self.parts[name].process.pid is None:
                    self._launch(name)

    def keep_alive(self, away: Collection[str] = ()) -> list[str]:
        """Start again every service that is gone, as the supervisor would; returns their names."""
        revived = []
        for name, part in self.parts.items():
            if name not in away and part.process.pid is None and not self._stopping:
                self._launch(name)
                revived.append(name)
        return revived

    def wait_ready(self, within_s: float = READY_WITHIN_S, *, without: Collection[str] = ()) -> None:
        """Wait until every part says it is ready, but for those of `without`.

        Raises:
            ServerFailed: one is not ready in time.
        """
        deadline = time.monotonic() + within_s
        for name, part in self.parts.items():
            while name not in without and not _is_ready(part.ready_url):
                if time.monotonic() > deadline:
                    raise ServerFailed(f"{name} is not ready:\n{part.process.log_tail(30)}")
                if part.process.pid is None:
                    raise ServerFailed(f"{name} has ended:\n{part.process.log_tail(30)}")
                time.sleep(_POLL_S)

    def account(self, login: str) -> Account:
        return next(account for account in ACCOUNTS if account.login == login)

    def resident_mb(self) -> dict[str, float]:
        """Resident memory of every part in MB; servers included."""
        pids = {name: part.process.pid for name, part in self.parts.items()}
        pids |= {"rabbitmq": self.rabbitmq.pid, "mongodb": self.mongodb.pid}
        return {name: round(_resident_mb(pid), 1) for name, pid in pids.items() if pid is not None}

    def logs(self) -> Iterator[tuple[str, str]]:
        """(part, everything it wrote) of every process of ours."""
        for name, part in self.parts.items():
            yield name, part.process.log_file.read_text(errors="replace")

    def replicas_of(self, service: str) -> list[str]:
        """The parts that are replicas of a service."""
        return [name for name, part in self.parts.items() if part.service == service]

    def internal_url(self, name: str) -> str:
        """Where this replica alone answers: internal routes, health, metrics."""
        return self.parts[name].ready_url.removesuffix("/health/ready")

    def _plan(self, services: Sequence[str]) -> None:
        keys = {name: secrets.token_bytes(32) for name in {*SERVICES, *services}}
        public = {name: _public_key(seed) for name, seed in keys.items()}
        session_key = _b64(secrets.token_bytes(32))
        credential_keys = json.dumps({"primary": "k1", "keys": {"k1": _b64(secrets.token_bytes(32))}})
        users = self.folder / "users.json"
        write_private(
            users, json.dumps({"tenants": TENANTS, "users": [vars(account) for account in ACCOUNTS]})
        )
        sandbox_port = free_port()
        self.sandbox_url = f"http://127.0.0.1:{sandbox_port}"
        self._add(
            "sandbox",
            {
                "ROZMOVA_PUBLIC_PORT": str(sandbox_port),
                "ROZMOVA_SANDBOX_BOTS": json.dumps([*BOTS.values(), SPARE_BOT]),
                "ROZMOVA_SANDBOX_VIBER_BOTS": json.dumps([VIBER_BOT]),
                "ROZMOVA_SANDBOX_WHATSAPP_NUMBERS": json.dumps([WHATSAPP_NUMBER]),
                "ROZMOVA_SANDBOX_RETRY_DIVISOR": "10",
            },
            self.sandbox_url,
        )
        inbox_url = ""
        for service in services:
            internal, public_port = free_port(), free_port()
            internal_url = f"http://127.0.0.1:{internal}"
            public_url = f"http://127.0.0.1:{public_port}"
            count = self.replicas.get(service, 1)
            for number in range(1, count + 1):
                name = service if number == 1 else f"{service}-{number}"
                environment = {
                    "RABBITMQ_URL": self.rabbitmq.url,
                    "MONGO_URL": self.mongodb.url,
                    "ROZMOVA_INTERNAL_PORT": str(internal),
                    "ROZMOVA_INTERNAL_URL": internal_url,
                    "ROZMOVA_INSTANCE": name,
                    "ROZMOVA_SERVICE_KEY": _b64(keys[service]),
                    "ROZMOVA_SERVICE_PUBLIC_KEYS": json.dumps(public),
                    "ROZMOVA_TRACES_DIR": str(self.folder / "traces"),
                    # Nobody deals out connections by readiness here.
                    "ROZMOVA_UNREADY_SECONDS": "0.2",
                }
                own_url = internal_url
                if count > 1:
                    own_port = free_port()
                    own_url = f"http://127.0.0.1:{own_port}"
                    environment |= {"ROZMOVA_SHARED_PORTS": "true", "ROZMOVA_OWN_PORT": str(own_port)}
                if service == "gateway" or service.startswith("ingest-"):
                    environment["ROZMOVA_OBJECTS_URL"] = (self.folder / "objects").as_uri()
                if service == "inbox":
                    inbox_url = inbox_url or internal_url
                if service == "ingest-telegram":
                    self.ingest_url = public_url
                if service == "ingest-viber":
                    self.viber_url = public_url
                if service == "ingest-whatsapp":
                    self.whatsapp_url = public_url
                    environment |= {
                        "ROZMOVA_META_APP_SECRETS": json.dumps([WHATSAPP_NUMBER["app_secret"]]),
                        "ROZMOVA_META_VERIFY_TOKENS": json.dumps([WHATSAPP_NUMBER["verify_token"]]),
                    }
                if service in MESSENGERS:
                    environment |= {
                        "ROZMOVA_PUBLIC_PORT": str(public_port),
                        "ROZMOVA_PUBLIC_URL": public_url,
                        "ROZMOVA_API_BASES": json.dumps([self.sandbox_url + MESSENGERS[service][1]]),
                        "ROZMOVA_CREDENTIAL_KEYS": credential_keys,
                    }
                if service == "gateway":
                    self.gateway_url = self.gateway_url or public_url
                    environment |= {
                        "ROZMOVA_PUBLIC_PORT": str(public_port),
                        "ROZMOVA_INBOX_URL": inbox_url,
                        "ROZMOVA_SESSION_KEY": session_key,
                        "ROZMOVA_USERS_FILE": str(users),
                    }
                self._add(name, environment | dict(self.environment), own_url, service)

    def _add(self, name: str, environment: dict[str, str], base_url: str, service: str | None = None) -> None:
        service = service or name
        script = self.mutants.get(service)
        argv = (
            [sys.executable, str(script)] if script else [sys.executable, "-m", f"{_PACKAGES[service]}.app"]
        )
        process = DetachedProcess(name, self.folder / f"{name}.pid", self.folder / "log" / f"{name}.log")
        inherited = {
            key: os.environ[key]
            for key in ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH")
            if key in os.environ
        }
        self.parts[name] = _Part(process, argv, inherited | environment, f"{base_url}/health/ready", service)

    def _launch(self, name: str) -> None:
        part = self.parts[name]
        part.process.start(part.argv, env=part.environment, cwd=self.folder)

    def _connect_whatsapp(self) -> dict[str, Any]:
        """The salon's number behind the callback of the app, which names no channel."""
        dashboard = f"{self.sandbox_url}/control/whatsapp/{WHATSAPP_NUMBER['phone_number_id']}"
        _send("PUT", dashboard, {"callback_url": f"{self.whatsapp_url}/webhooks/whatsapp"})
        channel = self.connect_channel(
            "salon",
            "ingest-whatsapp",
            {
                "phone_number_id": WHATSAPP_NUMBER["phone_number_id"],
                "waba_id": WHATSAPP_NUMBER["waba_id"],
                "access_token": WHATSAPP_NUMBER["token"],
            },
        )
        _send("PUT", dashboard, {"channel_id": channel["id"]})
        return channel

    def connect_channel(
        self,
        tenant: str,
        service: str,
        credentials: str | Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Connect a bot of the sandbox as the tenant's administrator would; returns the channel.

        Args:
            credentials: as the kind wants them; a text is a bot's token.

        Raises:
            ServerFailed: the gateway refuses it, or hears of no such connector in time.
        """
        kind, path = MESSENGERS[service]
        given = {"token": credentials} if isinstance(credentials, str) else dict(credentials)
        admin = next(a for a in ACCOUNTS if a.tenant == tenant and "admin" in a.roles)
        login = _post(
            f"{self.gateway_url}/api/v1/auth/login", {"login": admin.login, "password": admin.password}
        )
        deadline = time.monotonic() + READY_WITHIN_S
        while True:  # the gateway learns of connectors from their announcements
            try:
                return _post(
                    f"{self.gateway_url}/api/v1/channels",
                    {
                        "kind": kind,
                        "title": f"{kind.partition('_')[0].title()} {tenant}",
                        "credentials": given,
                        "api_base": self.sandbox_url + path,
                        "settings": {"roles": ["admin", "reception"], **(settings or {})},
                    },
                    login["access_token"],
                )
            except urllib.error.HTTPError as exc:
                problem = exc.read().decode(errors="replace")
                not_yet = exc.code >= 500 or '"unknown_kind"' in problem
                if not not_yet or time.monotonic() > deadline:
                    raise ServerFailed(f"the channel of {tenant} was refused: {exc.code} {problem}") from exc
                time.sleep(_POLL_S)


def _post(url: str, body: Mapping[str, Any], token: str = "") -> dict[str, Any]:
    return _send("POST", url, body, token)


def _send(method: str, url: str, body: Mapping[str, Any], token: str = "") -> dict[str, Any]:
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)  # noqa: S310 - our own loopback address
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        loaded: dict[str, Any] = json.load(answer)
        return loaded


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def _public_key(seed: bytes) -> str:
    return _b64(Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw())
