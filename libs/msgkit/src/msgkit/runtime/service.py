"""The life of a service process: start, serve, drain on SIGTERM, end at once when a part has died."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from typing import Any, NoReturn

from fastapi import FastAPI
from pydantic import ValidationError
from pydantic_settings import SettingsError
from starlette.routing import Route

from msgkit.runtime.health import Health
from msgkit.runtime.listeners import HTTP_STOP_SECONDS, ListenRefused, Server, listener
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
FIRST_READY_SECONDS = 10.0
"""How long a replica waits for its own readiness before it joins those that listen on a shared port."""
DRAIN_SECONDS = 10.0
STOP_SECONDS = 4.0
EXIT_SECONDS = 30.0
"""From the signal to the end of the process, whatever hangs. The pod's grace period must be longer."""

GARBAGE_THRESHOLDS = (50_000, 20, 100)
"""The collector's default of 700 fits programs that make fewer objects than one batch of messages."""

_LOOK_SECONDS = 0.05


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
    """Stop taking work and finish what is in hand. New connections come no more; those there are, and the
    port for health, still get answers."""
    stop: Callable[[], Awaitable[None]]
    """Close connections; HTTP has ended."""


@dataclass(frozen=True)
class _Doors:
    """The servers of a process by when they open and close."""

    outer: tuple[Server, ...]
    """For callers: opened when ready, closed for newcomers before the draining."""
    own: tuple[Server, ...]
    """For whoever watches this replica: open from the start to the end."""

    @property
    def all(self) -> tuple[Server, ...]:
        return (*self.own, *self.outer)


def run(build: Callable[[], Service]) -> NoReturn:
    """The main function of every `python -m <package>.app`. Ends the process.

    Exit codes: 0 after SIGTERM or SIGINT, 1 when a part died, 2 for settings, 3 when the start failed.
    """
    try:
        settings = ServiceSettings()
    except (ValidationError, SettingsError) as exc:
        _refuse_settings(exc)
    configure_logs("starting", settings.log_level)
    exit_code = asyncio.run(_Process(settings).run(build))
    # Everything is closed by now. Taking the interpreter down as well aborts the process now and then: the
    # object store's own threads may ask for it just then (7 % of the exits on one busy core).
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(exit_code)


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
        # A service may find a backlog the moment it starts, long before it is ready.
        gc.set_threshold(*GARBAGE_THRESHOLDS)
        try:
            return await self._live(service)
        finally:
            await asyncio.to_thread(telemetry.close)

    async def _live(self, service: Service) -> int:
        with contextlib.ExitStack() as listeners:
            try:
                doors = self._doors(service, listeners)
                started = await self._start(service)
            except Exception as exc:
                log.critical("start_failed", reason=_reason(exc), exc_info=exc)
                await self._step("stop", service.stop, STOP_SECONDS)
                return EXIT_START
            if not started:
                await self._step("stop", service.stop, STOP_SECONDS)
                return self._exit_code
            await self._serve(service, doors)
        return self._exit_code

    async def _serve(self, service: Service, doors: _Doors) -> None:
        serving = [await self._open(server) for server in doors.own]
        if self._settings.shared_ports:
            await self._first_ready(service.health)
        serving += [await self._open(server) for server in doors.outer]
        _spare_the_collector()
        log.info("service_started", host=self._settings.host, ports=[server.port for server in doors.all])
        await self._end.wait()
        await self._shut_down(service, doors, serving)

    async def _open(self, server: Server) -> asyncio.Task[None]:
        task = asyncio.create_task(server.run_on_it())
        task.add_done_callback(lambda _task: self.end(EXIT_DIED))
        await server.listening.wait()
        return task

    async def _first_ready(self, health: Health) -> None:
        """Others serve these ports already: nobody shall be dealt to one that cannot serve yet."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FIRST_READY_SECONDS):
                # Asked, not told: a check is a question to MongoDB or RabbitMQ.
                while not (self._end.is_set() or await health.is_ready()):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECONDS)

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

    async def _shut_down(self, service: Service, doors: _Doors, serving: list[asyncio.Task[None]]) -> None:
        service.health.draining = True
        log.info("service_draining", exit_code=self._exit_code)
        if self._exit_code == 0:
            # Whoever deals out connections by readiness must notice first. Kept connections end meanwhile,
            # each with an answer that says so.
            await asyncio.sleep(self._settings.unready_seconds)
        for server in doors.outer:
            await server.stop_accepting()
        await self._step("drain", service.drain, DRAIN_SECONDS)
        for server in doors.all:
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

    def _doors(self, service: Service, listeners: contextlib.ExitStack) -> _Doors:
        settings = self._settings
        _add_health(service.internal, service.health)
        service.internal.router.routes.insert(0, Route("/metrics", metrics_app(), include_in_schema=False))
        internal = RequestSpans(service.internal, continue_callers_trace=True)

        def door(app: RequestSpans, port: int, variable: str, *, shared: bool) -> Server:
            bound = listeners.enter_context(listener(settings.host, port, variable, shared=shared))
            return Server(app, bound, service.health, shared=shared)

        shared = settings.shared_ports
        inside = door(internal, settings.internal_port, "ROZMOVA_INTERNAL_PORT", shared=shared)
        outer: list[Server] = [inside] if shared else []
        if service.public is not None:
            if settings.public_port is None:
                raise ListenRefused("This service has a public side: set ROZMOVA_PUBLIC_PORT.")
            _add_health(service.public, service.health)
            public = RequestSpans(service.public, continue_callers_trace=False)
            outer.append(door(public, settings.public_port, "ROZMOVA_PUBLIC_PORT", shared=shared))
        if not shared:
            return _Doors(tuple(outer), (inside,))
        if settings.own_port is None:
            raise ListenRefused(
                "Replicas share the ports: set ROZMOVA_OWN_PORT, where this one alone answers."
            )
        own = door(internal, settings.own_port, "ROZMOVA_OWN_PORT", shared=False)
        return _Doors(tuple(outer), (own,))


_CURRENT: ContextVar[_Process | None] = ContextVar("msgkit_process", default=None)


def _spare_the_collector() -> None:
    """Leave out what stays for ever: it was a seventh of what a message costs."""
    gc.collect()
    gc.freeze()


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
