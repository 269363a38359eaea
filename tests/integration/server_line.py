"""A line to a server of the tests that can fall silent, as behind a firewall, or be cut and mended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from yarl import URL


class Line:
    """A port that leads to a server."""

    def __init__(self, server_url: str) -> None:
        self._server_url = URL(server_url)
        self._speaks = asyncio.Event()
        self._speaks.set()
        self._server: asyncio.Server | None = None
        self._port = 0
        self._ends: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        """The server's address by way of this line."""
        return str(self._server_url.with_host("127.0.0.1").with_port(self._port))

    async def mend(self) -> None:
        """Let callers in, on the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def cut(self) -> None:
        """Refuse newcomers and reset those who are there."""
        if self._server is not None:
            self._server.close()
        for end in self._ends:
            end.transport.abort()

    def fall_silent(self) -> None:
        """Accept everything and pass on nothing."""
        self._speaks.clear()

    def speak(self) -> None:
        """Pass on, also what was said meanwhile."""
        self._speaks.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        server_writer: asyncio.StreamWriter | None = None
        try:
            await self._speaks.wait()
            host, port = self._server_url.host, self._server_url.port
            server_reader, server_writer = await asyncio.open_connection(host, port)
            self._ends.add(server_writer)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass_on(reader, server_writer))
                tasks.create_task(self._pass_on(server_reader, writer))
        except* OSError:
            pass  # one of the two has gone
        finally:
            for end in (writer, server_writer):
                if end is not None:
                    self._ends.discard(end)
                    end.transport.abort()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while chunk := await reader.read(65536):
            await self._speaks.wait()
            writer.write(chunk)
            await writer.drain()
        raise ConnectionResetError


@asynccontextmanager
async def line_to(server_url: str) -> AsyncIterator[Line]:
    """A line that works; cut at the end of the block."""
    line = Line(server_url)
    await line.mend()
    try:
        yield line
    finally:
        line.speak()
        await line.cut()
