"""The life of a service process: start, serve, drain on SIGTERM, end at once when a part has died."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

import uvicorn
from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError
from starlette.routing import Route
from starlette.types import ASGIApp

from msgkit.runtime.headers import SecurityHeaders
from msgkit.runtime.health import Health
from msgkit.runtime.logs import configure_logs, get_logger
from msgkit.runtime.metrics import metrics_app
from msgkit.runtime.settings import ServiceSettings, explain_settings_fault
from msgkit.runtime.telemetry import RequestSpans, configure_telemetry

log = get_logger(__name__)

EXIT_DIED = 1
"""A background task or a server of this process ended by itself."""
EXIT_SETTINGS = 2
EXIT_START = 3
"""Something the service needs at start is not there: RabbitMQ, MongoDB, a free port."""

START_SECONDS = 60.0
DRAIN_SECONDS = 11.0
HTTP_STOP_SECONDS = 10
STOP_SECONDS = 4.0
EXIT_SECONDS = 30.0
"""From the signal to the end of the process, whatever hangs. The pod's grace period must be longer."""

GARBAGE_THRESHOLDS = (5_000, 10, 10)
"""The collector's default of 700 fits programs that make fewer objects than one batch of messages."""

WS_MAX_BYTES = 65_536
KEEP_ALIVE_SECONDS = 75
"""Longer than our own clients keep a connection, so that they close first."""


@dataclass
class Service:
    """What a service's app.py builds: everything is made, nothing runs yet."""

    name: str
    internal: FastAPI
    public: FastAPI | None
    health: Health
    start: Callable[[], Awaitable[None]]
    """Connects and spawns; an exception here ends the process with exit code 3."""
    drain: Callable[[], Awaitable[None]]
    """Stop taking work and finish what is in hand; HTTP still answers."""
    stop: Callable[[], Awaitable[None]]
    """Close connections; HTTP has ended."""


def run(build: Callable[[], Service]) -> NoReturn:
    """The main function of every `python -m <package>.app`. Ends the process.

    Exit codes: 0 after SIGTERM or SIGINT, 1 when a part died, 2 for settings, 3 when the start failed.
    """
    try:
        settings = ServiceSettings()
    except (ValidationError, SettingsError) as exc:
        _refuse_settings(exc)
    configure_logs("starting", settings.log_level)
    sys.exit(asyncio.run(_Process(settings).run(build)))


class Background:
    """The long-running tasks of a service. One that ends with an exception ends the process.

    A service that looks alive but no longer works is worse than a restart.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self._process = _CURRENT.get()

    def spawn(self, name: str, coro: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Runs the coroutine until it returns or `cancel_all` is called."""
        task = asyncio.create_task(coro, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_done)
        return task

    async def cancel_all(self) -> None:
        """Cancels every task and waits for all of them; what they raise while ending is logged."""
        self._stopping = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled():
            # Not by us: a lost broker connection, for one, shows itself as a cancellation.
            error: BaseException | None = None if self._stopping else asyncio.CancelledError()
        else:
            error = task.exception()
        if error is None:
            return
        log.critical("background_task_died", task=task.get_name(), exc_info=error)
        if not self._stopping and self._process is not None:
            self._process.end(EXIT_DIED)


class _Process:
    """One run of one service."""

    def __init__(self, settings: ServiceSettings) -> None:
        self._settings = settings
        self._end = asyncio.Event()
        self._exit_code = 0

    def end(self, exit_code: int) -> None:
        """Begins the shutdown; the first reason decides the exit code."""
        if self._end.is_set():
            return
        self._exit_code = exit_code
        self._end.set()
        # The last resort against whatever may hang: a thread in a driver, a route, an exporter.
        last_resort = threading.Timer(EXIT_SECONDS, os._exit, (exit_code or EXIT_DIED,))
        last_resort.daemon = True
        last_resort.start()

    async def run(self, build: Callable[[], Service]) -> int:
        _CURRENT.set(self)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.end, 0)
        try:
            service = build()
        except (ValidationError, SettingsError) as exc:
            _refuse_settings(exc)
        configure_logs(service.name, self._settings.log_level)
        telemetry = configure_telemetry(service.name, self._settings)
        try:
            return await self._live(service)
        finally:
            await asyncio.to_thread(telemetry.close)

    async def _live(self, service: Service) -> int:
        with contextlib.ExitStack() as listeners:
            try:
                servers = self._servers(service, listeners)
                started = await self._start(service)
            except Exception as exc:
                log.critical("start_failed", reason=_reason(exc), exc_info=exc)
                await self._step("stop", service.stop, STOP_SECONDS)
                return EXIT_START
            if not started:
                await self._step("stop", service.stop, STOP_SECONDS)
                return self._exit_code
            await self._serve(service, servers)
        return self._exit_code

    async def _serve(self, service: Service, servers: list[tuple[_Server, socket.socket]]) -> None:
        serving = [asyncio.create_task(server.serve([listener])) for server, listener in servers]
        for task in serving:
            task.add_done_callback(lambda _task: self.end(EXIT_DIED))
        for server, _ in servers:
            await server.listening.wait()
        ports = [listener.getsockname()[1] for _, listener in servers]
        _spare_the_collector()
        log.info("service_started", host=self._settings.host, ports=ports)
        await self._end.wait()
        await self._shut_down(service, [server for server, _ in servers], serving)

    async def _start(self, service: Service) -> bool:
        """Whether the start came through; False when a signal or a dead task ended it."""
        starting = asyncio.ensure_future(service.start())
        ending = asyncio.ensure_future(self._end.wait())
        await asyncio.wait({starting, ending}, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            ending.cancel()
            starting.result()
            return True
        starting.cancel()
        await asyncio.wait({starting}, timeout=STOP_SECONDS)
        if ending.done():
            return False
        ending.cancel()
        raise TimeoutError

    async def _shut_down(
        self, service: Service, servers: list[uvicorn.Server], serving: list[asyncio.Task[None]]
    ) -> None:
        service.health.draining = True
        log.info("service_draining", exit_code=self._exit_code)
        await self._step("drain", service.drain, DRAIN_SECONDS)
        for server in servers:
            server.should_exit = True
        await self._step("stop_http", partial(_all, serving), HTTP_STOP_SECONDS + 1)
        await self._step("stop", service.stop, STOP_SECONDS)
        log.info("service_stopped", exit_code=self._exit_code)

    async def _step(self, name: str, work: Callable[[], Awaitable[None]], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await work()
        except TimeoutError:
            log.error("shutdown_step_too_slow", step=name, seconds=seconds)  # noqa: TRY400  # the trace is ours
        except Exception:
            log.exception("shutdown_step_failed", step=name)
            self._exit_code = self._exit_code or EXIT_DIED

    def _servers(
        self, service: Service, listeners: contextlib.ExitStack
    ) -> list[tuple[_Server, socket.socket]]:
        settings = self._settings
        _add_health(service.internal, service.health)
        service.internal.router.routes.insert(0, Route("/metrics", metrics_app(), include_in_schema=False))
        internal = RequestSpans(service.internal, continue_callers_trace=True)
        sides = [(internal, settings.internal_port, "ROZMOVA_INTERNAL_PORT")]
        if service.public is not None:
            if settings.public_port is None:
                raise _StartRefused("This service has a public side: set ROZMOVA_PUBLIC_PORT.")
            _add_health(service.public, service.health)
            public = RequestSpans(service.public, continue_callers_trace=False)
            sides.append((public, settings.public_port, "ROZMOVA_PUBLIC_PORT"))
        return [
            (_server(app), listeners.enter_context(_listener(settings.host, port, variable)))
            for app, port, variable in sides
        ]


def _server(app: ASGIApp) -> _Server:
    config = uvicorn.Config(
        SecurityHeaders(app),
        ws="websockets-sansio",
        ws_max_size=WS_MAX_BYTES,
        ws_ping_timeout=30,
        ws_per_message_deflate=False,  # costs a zlib window and CPU per socket; the network is near
        log_config=None,  # ours is configured already
        access_log=False,
        server_header=False,
        lifespan="off",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=HTTP_STOP_SECONDS,
    )
    return _Server(config)


_CURRENT: ContextVar[_Process | None] = ContextVar("msgkit_process", default=None)


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listening = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            await super().startup(sockets)
        finally:
            self.listening.set()  # also when it failed: nobody waits for ever, and the ended task is seen

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to us: uvicorn's own handler would close sockets before anything is drained."""
        yield


class _StartRefused(Exception):
    """A start that cannot succeed; the message says what to change."""


def _listener(host: str, port: int, variable: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as exc:
        listener.close()
        raise _StartRefused(
            f"Cannot listen on {host}:{port} ({exc.strerror}). Stop what uses that port, or set {variable}."
        ) from exc
    listener.set_inheritable(False)
    return listener


def _spare_the_collector() -> None:
    """Leave out what stays for ever, and look less often: it was a seventh of what a message costs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def _add_health(app: FastAPI, health: Health) -> None:
    # First in the list: an app may end with a route that takes every path.
    app.router.routes[0:0] = health.router().routes


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError) and not str(error):
        return f"Not started within {START_SECONDS:.0f} s: are RabbitMQ and MongoDB reachable?"
    return f"{type(error).__name__}: {error}"


def _refuse_settings(fault: ValidationError | SettingsError) -> NoReturn:
    # On stderr and as plain text: this is read by a person who starts the service for the first time.
    sys.stderr.write(explain_settings_fault(fault) + "\n")
    sys.exit(EXIT_SETTINGS)
