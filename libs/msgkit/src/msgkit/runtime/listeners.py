"""Listening: ports that replicas may share, and a stop that resets nobody who has just connected."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import random
import socket
import struct
import sys
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from msgkit.runtime.headers import SecurityHeaders
from msgkit.runtime.health import Health

HTTP_STOP_SECONDS = 8
"""How long requests in hand may take after the stop."""
WS_MAX_BYTES = 65_536
KEEP_ALIVE_SECONDS = 75
"""Longer than our own clients keep a connection, so that they close first."""
MOVE_ON_ONE_IN = 500
"""Of the answers on a shared port: how often a kept connection is ended, so that a replica that came later,
or came back, gets its share of them."""


class ListenRefused(Exception):
    """A port cannot be listened on; the message says what to change."""


def listener(host: str, port: int, variable: str, *, shared: bool) -> socket.socket:
    """A bound socket; nobody can connect before the server listens on it.

    Args:
        host, port: the address.
        variable: the setting to name when it is taken.
        shared: other processes of this user may listen there too; the kernel deals the connections out.

    Raises:
        ListenRefused: somebody else listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made = socket.socket(family, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind((host, port))
    except OSError as exc:
        made.close()
        raise ListenRefused(
            f"Cannot listen on {host}:{port} ({exc.strerror}). Stop what uses that port, or set {variable}."
        ) from exc
    made.set_inheritable(False)
    return made


class Server(uvicorn.Server):
    """uvicorn on a socket of ours, without its own ideas about signals and about stopping."""

    def __init__(self, app: ASGIApp, listening_on: socket.socket, health: Health, *, shared: bool) -> None:
        config = uvicorn.Config(
            SecurityHeaders(_Farewell(app, health, shared=shared)),
            ws="websockets-sansio",
            ws_max_size=WS_MAX_BYTES,
            ws_ping_timeout=30,
            ws_per_message_deflate=False,  # costs a zlib window and CPU per socket; the network is near
            log_config=None,  # ours is configured already
            access_log=False,
            proxy_headers=False,  # who may speak for a caller is a setting; the server would believe loopback
            server_header=False,
            lifespan="off",
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=HTTP_STOP_SECONDS,
        )
        super().__init__(config)
        self.listening = asyncio.Event()
        self._listener = listening_on
        self._twin: socket.socket | None = None

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    async def run_on_it(self) -> None:
        """Serve until `should_exit`."""
        try:
            await self.serve([self._listener])
        finally:
            if self._twin is not None:
                self._twin.close()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        try:
            # The same queue under a second descriptor: asyncio closes the first one with what waits in it.
            self._twin = self._listener.dup()
            await super().startup(sockets)
        finally:
            self.listening.set()  # also when it failed: nobody waits for ever, and the ended task is seen

    async def stop_accepting(self) -> None:
        """Let nobody in any more; who has connected until now is served, who is in keeps his connection.

        Closing a listening socket resets the connections that nobody has accepted yet. So they are
        accepted first, and the closing follows the last look at the queue within microseconds.
        """
        if not self.started or self._twin is None:
            return
        loop = asyncio.get_running_loop()
        if self._listener.fileno() >= 0:
            loop.remove_reader(self._listener)
        for _ in range(3):
            await asyncio.sleep(0)  # connections asyncio has accepted already become transports
        for server in self.servers:
            server.close()
        waiting = list(_accept_all(self._twin))
        for connection in waiting:
            await loop.connect_accepted_socket(self._protocol, connection)

    def _protocol(self) -> asyncio.Protocol:
        # As uvicorn itself makes them for whom asyncio accepts.
        return self.config.http_protocol_class(
            config=self.config,  # type: ignore[call-arg]
            server_state=self.server_state,
            app_state=self.lifespan.state,
        )

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leaves signals to us: uvicorn's own handler would close sockets before anything is drained."""
        yield


def _accept_all(twin: socket.socket) -> Iterator[socket.socket]:
    """What waits in the queue; with its end the queue is closed."""
    twin.setblocking(False)
    _ignore_newcomers(twin)
    accepted: list[socket.socket] = []
    try:
        while True:
            accepted.append(twin.accept()[0])
    except OSError:  # nobody waits, or there is no descriptor left for whoever does
        twin.close()
    for connection in accepted:
        connection.setblocking(False)
        yield connection


_SO_ATTACH_FILTER = 26
_DROP_SYN = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x30, 0, 0, 13),  # the flags of the TCP header
        (0x54, 0, 0, 0x02),  # SYN?
        (0x15, 0, 1, 0),
        (0x06, 0, 0, 0xFFFFFFFF),  # no: let it pass
        (0x06, 0, 0, 0),  # yes: as if it had been lost on the way
    )
)


def _ignore_newcomers(listening: socket.socket) -> None:
    """Between the last look at the queue and its closing nobody may join it, or he would be reset.

    A lost SYN is sent again after a second, and then meets whoever still listens there. Without the
    filter about one in sixty stops under heavy load resets one connection.
    Source: Linux, Documentation/networking/filter.rst (socket filters; free for everybody).
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(_DROP_SYN, len(_DROP_SYN))
    length = len(_DROP_SYN) // 8
    with contextlib.suppress(OSError):  # a sandbox may forbid it: then the gap of microseconds stays
        listening.setsockopt(
            socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("HP", length, ctypes.addressof(program))
        )


class _Farewell:
    """Ends kept connections with an answer and not between two requests, where one may get lost."""

    def __init__(self, app: ASGIApp, health: Health, *, shared: bool) -> None:
        self._app = app
        self._health = health
        self._shared = shared

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        moving_on = self._shared and random.randrange(MOVE_ON_ONE_IN) == 0  # noqa: S311 - spreads load
        if scope["type"] != "http" or not (self._health.draining or moving_on):
            await self._app(scope, receive, send)
            return

        async def send_and_close(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), (b"connection", b"close")]
            await send(message)

        await self._app(scope, receive, send_and_close)
