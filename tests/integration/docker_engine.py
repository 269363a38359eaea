"""Plays a Docker engine over real HTTP: a container is the native server on the published port.

So the client library, addresses, kill and restart of `msgkit.testing.containers` are proved without one.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from msgkit.testing.processes import free_port, write_private
from msgkit.testing.servers import MongoServer, RabbitMQPorts, RabbitMQServer

Json = dict[str, Any]


@dataclass
class Engine:
    """What was asked of it, and the servers it plays."""

    folder: Path
    created: dict[str, Json] = field(default_factory=dict)
    servers: dict[str, RabbitMQServer | MongoServer] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Json) -> tuple[int, Any]:
        """Status and body of one call of the engine's API (docs.docker.com/reference/api/engine)."""
        words = path.strip("/").split("/")
        if words[0].startswith("v1."):
            words = words[1:]
        reply: tuple[int, Any] = 404, {"message": f"not played: {method} {path}"}
        match method, words:
            case "GET", ["version"]:
                reply = 200, {"ApiVersion": "1.43", "Version": "24.0.0", "Os": "linux", "Arch": "amd64"}
            case "GET", ["images", *image, "json"]:
                reply = 200, {"Id": "/".join(image), "RepoTags": ["/".join(image)]}
            case "POST", ["containers", "create"]:
                name = f"c{len(self.created)}"
                self.created[name] = body
                self.calls.append(f"create {body['Image']}")
                reply = 201, {"Id": name, "Warnings": []}
            case "GET", ["containers", name, "json"]:
                config = {"Image": self.created[name]["Image"], "Labels": {}}
                reply = 200, {"Id": name, "Name": f"/{name}", "Config": config, "State": {}}
            case "POST", ["containers", name, "start"]:
                self.calls.append("start")
                self._server(name).start()
                reply = 204, None
            case "POST", ["containers", name, "kill"]:
                self.calls.append(f"kill {query['signal'][0]}")
                self.servers[name].kill()
                reply = 204, None
            case "DELETE", ["containers", name]:
                self.calls.append("remove")
                self.servers.pop(name).stop()
                reply = 204, None
        return reply

    def _server(self, name: str) -> RabbitMQServer | MongoServer:
        if name not in self.servers:
            body = self.created[name]
            published = {
                inside: int(bindings[0]["HostPort"])
                for inside, bindings in body["HostConfig"]["PortBindings"].items()
            }
            folder = self.folder / name
            if "rabbitmq" in body["Image"]:
                environment = dict(word.split("=", 1) for word in body["Env"])
                write_private(folder / "password", environment["RABBITMQ_DEFAULT_PASS"])
                ports = RabbitMQPorts(
                    published["5672/tcp"], free_port(), free_port(), management=published["15672/tcp"]
                )
                self.servers[name] = RabbitMQServer(folder, ports)
            else:
                port = int(body["Cmd"][body["Cmd"].index("--port") + 1])
                assert published == {f"{port}/tcp": port}
                self.servers[name] = MongoServer(folder, port)
        return self.servers[name]


@contextmanager
def played_engine(folder: Path) -> Iterator[tuple[Engine, str]]:
    """The engine and its address for DOCKER_HOST."""
    engine = Engine(folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(engine.answer))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield engine, f"tcp://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
        for running in engine.servers.values():
            running.kill()
            running.stop()


def _handler(
    answer: Callable[[str, str, dict[str, list[str]], Json], tuple[int, Any]],
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: object) -> None:
            """Tests read their own output."""

        def _any(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length) or b"{}")
            url = urlsplit(self.path)
            status, value = answer(self.command, url.path, parse_qs(url.query), body)
            payload = b"" if status == HTTPStatus.NO_CONTENT else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(payload)))
            self.end_headers()
            self.wfile.write(payload)

        do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the base class looks for these names

    return Handler
