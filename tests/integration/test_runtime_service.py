"""The life of a service, seen from outside: a real process, real signals, real exit codes."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from msgkit.runtime.http import authorities
from msgkit.runtime.service import GARBAGE_THRESHOLDS, Background
from msgkit.testing.processes import free_port

PROGRAM = Path(__file__).resolve().parents[1] / "fixtures" / "runtime" / "service_under_test.py"
KEY = base64.b64encode(b"k" * 32).decode()


class Running:
    """A started service."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.internal, self.public = free_port(), free_port()
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", str(PROGRAM)],
            env={
                "PATH": os.environ["PATH"],
                "ROZMOVA_PUBLIC_PORT": str(self.public),
                "ROZMOVA_INTERNAL_PORT": str(self.internal),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []

    def wait_for(self, event: str) -> dict[str, Any]:
        """Reads the log up to this event."""
        assert self.process.stdout is not None
        for text in self.process.stdout:
            self.lines.append(json.loads(text))
            if self.lines[-1]["event"] == event:
                return self.lines[-1]
        raise AssertionError(f"{event!r} never came: {self.lines} {self.process.stderr.read()}")  # type: ignore[union-attr]  # is a pipe

    def end(self) -> tuple[int, str]:
        """The exit code and what stood on stderr."""
        out, err = self.process.communicate(timeout=20)
        self.lines += [json.loads(text) for text in out.splitlines()]
        return self.process.returncode, err

    def events(self) -> list[str]:
        return [line["event"] for line in self.lines]


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    started: list[Running] = []

    def start(behaviour: str = "good", **changes: str | None) -> Running:
        environment: dict[str, str | None] = {
            "BEHAVIOUR": behaviour,
            "RABBITMQ_URL": "amqp://u:canary-password@127.0.0.1:1/",
            "MONGO_URL": "mongodb://127.0.0.1:1/?replicaSet=rs0",
            "ROZMOVA_SERVICE_KEY": KEY,
            "ROZMOVA_SERVICE_PUBLIC_KEYS": json.dumps({"gateway": KEY}),
            "ROZMOVA_API_BASE": "https://api.example.org",
            "ROZMOVA_UNREADY_SECONDS": "0",
            **changes,
        }
        running = Running({name: value for name, value in environment.items() if value is not None})
        started.append(running)
        return running

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()


def test_serves_both_sides_with_health_in_front_of_every_route(start: Start) -> None:
    running = start()
    assert running.wait_for("service_started")["ports"] == [running.internal, running.public]
    with httpx2.Client(trust_env=False) as http:
        for port in (running.internal, running.public):
            for path in ("live", "ready"):
                assert http.get(f"http://127.0.0.1:{port}/health/{path}").status_code == 200
        answer = http.get(f"http://127.0.0.1:{running.public}/metrics")
        assert answer.json()["path"] == "metrics", "metrics are not for the outside"
        assert "rozmova_ws_connections" in http.get(f"http://127.0.0.1:{running.internal}/metrics").text
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_the_collector_is_told_before_the_start_which_may_meet_a_backlog(start: Start) -> None:
    running = start("slow_start")
    assert running.wait_for("starting_slowly")["collector"] == list(GARBAGE_THRESHOLDS)


def test_sigterm_drains_and_ends_with_0_quickly(start: Start) -> None:
    running = start()
    running.wait_for("service_started")
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (0, "")
    assert time.monotonic() - began < 5
    assert running.events()[1:] == ["service_draining", "draining", "stopped", "service_stopped"]
    assert running.lines[2]["ready"] is False, "readiness turns before drain begins"


def test_the_end_of_the_interpreter_cannot_spoil_the_exit_code(start: Start) -> None:
    """obstore's threads did: SIGABRT, a bus error or a segmentation fault after everything was done."""
    running = start("deadly_end")
    running.wait_for("service_started")
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (0, "")
    assert running.events()[-1] == "service_stopped"


def test_before_it_refuses_anybody_it_says_for_a_while_that_it_is_not_ready(start: Start) -> None:
    running = start(ROZMOVA_UNREADY_SECONDS="1.5")
    running.wait_for("service_started")
    running.process.send_signal(signal.SIGTERM)
    running.wait_for("service_draining")
    with httpx2.Client(trust_env=False) as http:
        for port in (running.internal, running.public):
            assert http.get(f"http://127.0.0.1:{port}/health/ready").status_code == 503
            assert http.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
        answer = http.get(f"http://127.0.0.1:{running.public}/work")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
    assert running.end() == (0, "")


def test_while_draining_it_lets_nobody_in_and_still_tells_its_health(start: Start) -> None:
    running = start("slow_drain")
    running.wait_for("service_started")
    with httpx2.Client(trust_env=False) as kept, httpx2.Client(trust_env=False) as http:
        assert kept.get(f"http://127.0.0.1:{running.public}/work").status_code == 200
        running.process.send_signal(signal.SIGTERM)
        running.wait_for("draining")
        assert kept.get(f"http://127.0.0.1:{running.public}/work").status_code == 200
        with pytest.raises(httpx2.ConnectError):
            http.get(f"http://127.0.0.1:{running.public}/work")
        assert http.get(f"http://127.0.0.1:{running.internal}/health/ready").status_code == 503
        assert http.get(f"http://127.0.0.1:{running.internal}/health/live").status_code == 200
        assert http.post(f"http://127.0.0.1:{running.internal}/release").status_code == 200
    assert running.end() == (0, "")


def test_a_request_in_hand_is_finished(start: Start) -> None:
    running = start()
    running.wait_for("service_started")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(
            httpx2.get, f"http://127.0.0.1:{running.public}/slow", trust_env=False, timeout=10
        )
        running.wait_for("working")
        running.process.send_signal(signal.SIGTERM)
        assert answer.result().json() == {"finished": True}
    assert running.end() == (0, "")


@pytest.mark.parametrize(("route", "task"), [("die", "dying"), ("lose", "losing")])
def test_a_background_task_that_dies_ends_the_process_with_1(start: Start, route: str, task: str) -> None:
    running = start()
    running.wait_for("service_started")
    with httpx2.Client(trust_env=False) as http:
        http.post(f"http://127.0.0.1:{running.internal}/{route}")
    assert running.wait_for("background_task_died")["task"] == task
    assert running.end() == (1, "")
    assert running.events()[-2:] == ["stopped", "service_stopped"]


def test_a_failing_drain_does_not_stop_the_rest_but_shows_in_the_exit_code(start: Start) -> None:
    running = start("broken_drain")
    running.wait_for("service_started")
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (1, "")
    assert running.events()[-3:] == ["shutdown_step_failed", "stopped", "service_stopped"]


def test_sigterm_during_the_start_ends_it(start: Start) -> None:
    running = start("slow_start")
    running.wait_for("starting_slowly")
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (0, "")


def test_missing_settings_are_named_and_end_with_2(start: Start) -> None:
    running = start(ROZMOVA_SERVICE_KEY=None, MONGO_URL="")
    code, err = running.end()
    assert code == 2
    assert "  MONGO_URL: is not set\n" in err
    assert "  ROZMOVA_SERVICE_KEY: is not set\n" in err
    assert "RABBITMQ_URL" not in err
    assert "Traceback" not in err


def test_a_services_own_missing_setting_is_named_too(start: Start) -> None:
    code, err = start(ROZMOVA_API_BASE=None).end()
    assert (code, "  ROZMOVA_API_BASE: is not set\n" in err) == (2, True)


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ROZMOVA_SERVICE_KEY", "canary-not-a-key"),
        ("ROZMOVA_SERVICE_PUBLIC_KEYS", '{"gateway": "canary"}'),
        ("ROZMOVA_SERVICE_PUBLIC_KEYS", "canary {"),
        ("RABBITMQ_URL", "http://canary"),
        ("MONGO_URL", "canary"),
        ("ROZMOVA_LOG_LEVEL", "canary"),
        ("ROZMOVA_INTERNAL_PORT", "canary"),
    ],
)
def test_a_wrong_setting_is_named_without_its_value(start: Start, variable: str, value: str) -> None:
    code, err = start(**{variable: value}).end()
    assert code == 2
    assert f"{variable}: " in err
    assert "canary" not in err
    assert "Traceback" not in err


def test_a_start_that_fails_ends_with_3_and_says_why(start: Start) -> None:
    running = start("no_broker")
    assert running.end() == (3, "")
    assert "RabbitMQ does not answer" in running.lines[0]["reason"]
    assert "canary" not in json.dumps(running.lines)
    assert running.events() == ["start_failed", "stopped"]


def test_a_taken_port_ends_with_3_and_names_the_setting(start: Start) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        running = start(ROZMOVA_PUBLIC_PORT=str(taken.getsockname()[1]))
        assert running.end() == (3, "")
    assert "ROZMOVA_PUBLIC_PORT" in running.lines[0]["reason"]


def fetch(url: str) -> httpx2.Response:
    """One request over a connection of its own."""
    return httpx2.get(url, trust_env=False, verify=authorities())


def test_replicas_share_their_ports_and_each_has_one_of_its_own(start: Start) -> None:
    public, internal, own = free_port(), free_port(), (free_port(), free_port())
    shared = {
        "ROZMOVA_SHARED_PORTS": "true",
        "ROZMOVA_PUBLIC_PORT": str(public),
        "ROZMOVA_INTERNAL_PORT": str(internal),
    }
    replicas = [start(**shared, ROZMOVA_OWN_PORT=str(port)) for port in own]
    for replica, port in zip(replicas, own, strict=True):
        assert replica.wait_for("service_started")["ports"] == [port, internal, public]
        assert fetch(f"http://127.0.0.1:{port}/health/ready").status_code == 200
    answered = {fetch(f"http://127.0.0.1:{public}/pid").json()["pid"] for _ in range(40)}
    assert answered == {replica.process.pid for replica in replicas}
    replicas[0].process.kill()
    replicas[0].process.wait()
    for _ in range(20):
        answer = fetch(f"http://127.0.0.1:{public}/pid")
        assert answer.json()["pid"] == replicas[1].process.pid


def test_a_replica_that_stops_resets_nobody(start: Start) -> None:
    """Connections come all the time, each for one request, while one of two replicas comes and goes."""
    public, internal = free_port(), free_port()
    shared = {
        "ROZMOVA_SHARED_PORTS": "true",
        "ROZMOVA_PUBLIC_PORT": str(public),
        "ROZMOVA_INTERNAL_PORT": str(internal),
    }
    staying = start(**shared, ROZMOVA_OWN_PORT=str(free_port()))
    staying.wait_for("service_started")
    over = threading.Event()

    def call() -> tuple[int, list[str]]:
        answered, failed = 0, []
        while not over.is_set():
            try:
                answered += fetch(f"http://127.0.0.1:{public}/work").status_code == 200
            except httpx2.TransportError as exc:
                failed.append(repr(exc))
            over.wait(0.005)  # beside them the replicas need the machine, too
        return answered, failed

    with ThreadPoolExecutor(4) as pool:
        calling = [pool.submit(call) for _ in range(4)]
        try:
            for _ in range(3):
                leaving = start(**shared, ROZMOVA_OWN_PORT=str(free_port()))
                leaving.wait_for("service_started")
                leaving.process.send_signal(signal.SIGTERM)
                assert leaving.end() == (0, "")
        finally:
            over.set()
        results = [one.result() for one in calling]
    assert sum(answered for answered, _ in results) > 100
    assert [failure for _, failed in results for failure in failed] == []


def test_shared_ports_need_one_of_ones_own(start: Start) -> None:
    running = start(ROZMOVA_SHARED_PORTS="true")
    assert running.end() == (3, "")
    assert "ROZMOVA_OWN_PORT" in running.lines[0]["reason"]


def test_a_public_side_needs_its_port(start: Start) -> None:
    running = start(ROZMOVA_PUBLIC_PORT="")
    assert running.end() == (3, "")
    assert "ROZMOVA_PUBLIC_PORT" in running.lines[0]["reason"]


async def test_background_outside_a_service_is_only_cancelled() -> None:
    ended: list[str] = []

    async def work() -> None:
        ended.append("began")

    background = Background()
    await background.spawn("short", work())
    await background.cancel_all()
    assert ended == ["began"]
