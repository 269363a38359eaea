"""The life of a service, seen from outside: a real process, real signals, real exit codes."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from msgkit.runtime.service import Background

PROGRAM = Path(__file__).resolve().parents[1] / "fixtures" / "runtime" / "service_under_test.py"
KEY = base64.b64encode(b"k" * 32).decode()


class Running:
    """A started service."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.internal, self.public = _free_port(), _free_port()
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
            **changes,
        }
        running = Running({name: value for name, value in environment.items() if value is not None})
        started.append(running)
        return running

    yield start
    for running in started:
        running.process.kill()
        running.process.communicate()


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


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


def test_sigterm_drains_and_ends_with_0_quickly(start: Start) -> None:
    running = start()
    running.wait_for("service_started")
    began = time.monotonic()
    running.process.send_signal(signal.SIGTERM)
    assert running.end() == (0, "")
    assert time.monotonic() - began < 5
    assert running.events()[1:] == ["service_draining", "draining", "stopped", "service_stopped"]
    assert running.lines[2]["ready"] is False, "readiness turns before drain begins"


def test_while_draining_it_answers_but_is_not_ready(start: Start) -> None:
    running = start("slow_drain")
    running.wait_for("service_started")
    running.process.send_signal(signal.SIGTERM)
    running.wait_for("draining")
    with httpx2.Client(trust_env=False) as http:
        for port in (running.internal, running.public):
            assert http.get(f"http://127.0.0.1:{port}/health/ready").status_code == 503
            assert http.get(f"http://127.0.0.1:{port}/health/live").status_code == 200
        assert http.get(f"http://127.0.0.1:{running.public}/work").status_code == 200
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
