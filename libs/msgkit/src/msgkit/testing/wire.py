"""A messenger's API on a real socket, answering by script: refusals, garbage, silence, broken connections."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.parser import BytesParser
from typing import Any, Literal
from urllib.parse import parse_qs


@dataclass(frozen=True)
class Call:
    """One request as it came over the wire."""

    path: str
    headers: dict[str, str]
    fields: dict[str, str]
    at: float
    """Monotonic seconds."""
    files: dict[str, bytes] = field(default_factory=dict)
    """Parts of a form that have a file name."""
    verb: str = ""
    body: bytes = b""

    @property
    def method(self) -> str:
        """The last step of the path: the name of the API method."""
        return self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Answer:
    """What to do with a request.

    `hang` keeps the connection open without a word, `drop` reads the request and closes, `reset` closes with
    a reset.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    does: Literal["answer", "hang", "drop", "reset"] = "answer"


def as_json(value: Any, status: int = 200) -> Answer:
    """A JSON answer."""
    return Answer(status, json.dumps(value).encode(), {"content-type": "application/json"})


class WireFake:
    """An HTTP server under a test's control: `respond` decides each answer, `calls` keeps each request."""

    def __init__(self, respond: Callable[[Call], Answer]) -> None:
        self.respond = respond
        self.calls: list[Call] = []
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._arrived = asyncio.Condition()

    async def start(self, port: int = 0) -> None:
        """Listen on loopback; port 0 finds a free one."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)

    @property
    def port(self) -> int:
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def stop(self) -> None:
        """Close the door and every open connection."""
        assert self._server is not None
        self._server.close()
        for task in list(self._open):
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def seen(self, method: str, count: int = 1, within_s: float = 10.0) -> list[Call]:
        """Wait until `method` was called `count` times; returns these calls."""

        def found() -> list[Call]:
            return [call for call in self.calls if call.method == method]

        async with asyncio.timeout(within_s), self._arrived:
            await self._arrived.wait_for(lambda: len(found()) >= count)
        return found()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            while await self._exchange(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away
        except asyncio.CancelledError:
            pass  # `stop`: asyncio would report a cancelled connection as an error
        finally:
            self._open.discard(task)
            writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        request_line, _, rest = head.partition(b"\r\n")
        parsed = BytesParser().parsebytes(rest)
        headers = {name.lower(): str(value) for name, value in parsed.items()}
        body = await _body(reader, headers)
        fields, files = _form(headers, body)
        verb, path = (word.decode() for word in request_line.split()[:2])
        call = Call(path, headers, fields, time.monotonic(), files, verb, body)
        self.calls.append(call)
        async with self._arrived:
            self._arrived.notify_all()
        answer = self.respond(call)
        if answer.does == "hang":
            await asyncio.Event().wait()
        if answer.does == "reset":
            writer.transport.abort()
        if answer.does != "answer":
            return False
        lines = [f"HTTP/1.1 {answer.status} X", f"content-length: {len(answer.body)}"]
        lines += [f"{name}: {value}" for name, value in answer.headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + answer.body)
        await writer.drain()
        return True


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    chunks = []
    while size := int(await reader.readline(), 16):
        chunks.append(await reader.readexactly(size))
        await reader.readline()
    await reader.readline()
    return b"".join(chunks)


def _form(headers: dict[str, str], body: bytes) -> tuple[dict[str, str], dict[str, bytes]]:
    """Fields and files of the body, whatever way it is written."""
    content_type = headers.get("content-type", "")
    if content_type.startswith("application/json"):
        return {name: str(value) for name, value in json.loads(body).items()}, {}
    if not content_type.startswith("multipart/"):
        pairs = parse_qs(body.decode(), keep_blank_values=True).items()
        return {name: values[0] for name, values in pairs}, {}
    form = BytesParser().parsebytes(f"content-type: {content_type}\r\n\r\n".encode() + body)
    fields: dict[str, str] = {}
    files: dict[str, bytes] = {}
    for part in form.walk():
        content = part.get_payload(decode=True)
        if not isinstance(content, bytes):  # a container of parts has no content of its own
            continue
        name = str(part.get_param("name", header="content-disposition"))
        if part.get_filename() is None:
            fields[name] = content.decode()
        else:
            files[name] = content
    return fields, files
