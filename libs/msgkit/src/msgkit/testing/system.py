"""The whole system on ports and folders of its own: for end-to-end tests, faults and measuring.

Every part is a real process: RabbitMQ, MongoDB, the sandbox, the services. Like the supervisor of
`make up`, `keep_alive` starts again what has died.
"""

from __future__ import annotations

import contextlib
import sys
import time
import urllib.request
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgkit.testing import demo
from msgkit.testing.channel_setup import ChannelSetup
from msgkit.testing.parts import SERVICES, Part, Planner, program_of
from msgkit.testing.processes import ServerFailed
from msgkit.testing.servers import MongoServer, RabbitMQPorts, RabbitMQServer

READY_WITHIN_S = 60.0
_POLL_S = 0.05


@dataclass(frozen=True)
class Left:
    """How a part ended after SIGTERM."""

    name: str
    seconds: float
    exit_code: int | None


@dataclass
class System:
    """One running system.

    Args:
        folder: for data and logs.
        replicas: service → number of replicas, if more than one; they share the service's addresses, and the
            further ones are the parts `inbox-2`, `inbox-3`, …
        environment: more environment variables for every service.
    """

    folder: Path
    replicas: Mapping[str, int] = field(default_factory=dict)
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
        self.facebook: dict[str, Any] = {}
        self.instagram: dict[str, Any] = {}
        """The salon's channels of its page and of its Instagram account, if ingest-meta runs."""
        self.instagram_by_login: dict[str, Any] = {}
        """The clinic's."""
        self.meta_url = ""
        self.parts: dict[str, Part] = {}
        self.gateway_url = ""
        self.sandbox_url = ""
        self.ingest_url = ""
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
        for name in self.parts:
            if name not in without:
                self.parts[name].launch(self.folder)
        self.wait_ready(without=without)
        if channels:
            self._connect_channels(services)

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
                    self.parts[name].launch(self.folder)

    def run_instead(self, service: str, script: Path | None) -> None:
        """Run a script in place of a service, or None: the service again; to prove that a checker bites."""
        for name in self.replicas_of(service):
            part = self.parts[name]
            part.process.kill()
            part.argv = program_of(service) if script is None else [sys.executable, str(script)]
            part.launch(self.folder)
        self.wait_ready()

    def keep_alive(self, away: Collection[str] = ()) -> list[str]:
        """Start again every service that is gone, as the supervisor would; returns their names."""
        revived = []
        for name, part in self.parts.items():
            if name not in away and part.process.pid is None and not self._stopping:
                self.parts[name].launch(self.folder)
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
        for name, part in self.parts.items():
            # Said to be ready and gone since, or another program answers at its address.
            if name not in without and part.process.pid is None:
                raise ServerFailed(f"{name} has ended:\n{part.process.log_tail(30)}")

    def account(self, login: str) -> demo.Account:
        return next(account for account in demo.ACCOUNTS if account.login == login)

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

    def connect_channel(
        self,
        tenant: str,
        kind: str,
        credentials: str | Mapping[str, Any],
        settings: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Connect a bot of the sandbox as the tenant's administrator would; returns the channel.

        Args:
            credentials: as the kind wants them; a text is a bot's token.

        Raises:
            ServerFailed: the gateway refuses it, or hears of no such connector in time.
        """
        return self._setup.connect(tenant, kind, credentials, settings)

    @property
    def _setup(self) -> ChannelSetup:
        return ChannelSetup(self.gateway_url, self.sandbox_url, READY_WITHIN_S)

    def _plan(self, services: Sequence[str]) -> None:
        servers = {"RABBITMQ_URL": self.rabbitmq.url, "MONGO_URL": self.mongodb.url}
        planner = Planner(
            self.folder,
            servers,
            replicas=self.replicas,
            environment=self.environment,
        )
        plan = planner.plan(services)
        self.parts = plan.parts
        self.sandbox_url = plan.sandbox_url
        self.gateway_url = plan.public_urls.get("gateway", "")
        self.ingest_url = plan.public_urls.get("ingest-telegram", "")
        self.viber_url = plan.public_urls.get("ingest-viber", "")
        self.whatsapp_url = plan.public_urls.get("ingest-whatsapp", "")
        self.meta_url = plan.public_urls.get("ingest-meta", "")

    def _connect_channels(self, services: Sequence[str]) -> None:
        for tenant, bot in demo.BOTS.items():
            self.channels[tenant] = self.connect_channel(tenant, "telegram_bot", bot["token"])
        if "ingest-viber" in services:
            welcome = {"welcome": demo.VIBER_WELCOME}
            self.viber = self.connect_channel("salon", "viber_bot", demo.VIBER_BOT["token"], welcome)
        if "ingest-whatsapp" in services:
            self.whatsapp = self._setup.connect_whatsapp(self.whatsapp_url)
        if "ingest-meta" in services:
            self.facebook = self._setup.connect_page(self.meta_url)
            self.instagram = self._setup.connect_instagram(self.meta_url)
            self.instagram_by_login = self._setup.connect_instagram_by_login(self.meta_url)


def _is_ready(url: str) -> bool:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310
        return bool(answer.status == 200)
    return False


def _resident_mb(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0
