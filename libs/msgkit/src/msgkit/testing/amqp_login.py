"""Proves with a plain socket that a RabbitMQ address logs in and opens its virtual host."""

from __future__ import annotations

import socket
import struct
from urllib.parse import unquote, urlsplit

_HEADER = b"AMQP\x00\x00\x09\x01"
_START, _TUNE, _OPEN_OK, _CLOSE = (10, 10), (10, 30), (10, 41), (10, 50)
_VERSION = b"\x07versionS"


class LoginFailed(Exception):
    """The broker cannot be reached, or refuses the login or the virtual host."""


def check_login(url: str, timeout_seconds: float = 5.0) -> str:
    """Logs in to `amqp://user:password@host:port/vhost` and opens the virtual host.

    Returns:
        The broker's version.

    Raises:
        LoginFailed: with the reason in the message; the password is never part of it.
    """
    parts = urlsplit(url)
    if parts.scheme != "amqp" or not parts.hostname:
        raise LoginFailed("the address must look like amqp://user:password@host:5672/vhost")
    where = f"{parts.hostname}:{parts.port or 5672}"
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    # By the AMQP URI rules an empty path means the vhost named "/" and "%2F" the same.
    vhost = unquote(parts.path.removeprefix("/")) or "/"
    try:
        with socket.create_connection((parts.hostname, parts.port or 5672), timeout_seconds) as connection:
            connection.settimeout(timeout_seconds)
            return _handshake(connection, user, password, vhost)
    except (OSError, struct.error) as exc:
        raise LoginFailed(f"no AMQP answer from {where}: {exc}") from exc


def _handshake(connection: socket.socket, user: str, password: str, vhost: str) -> str:
    connection.sendall(_HEADER)
    start = _expect(connection, _START, "the broker speaks another protocol")
    response = f"\0{user}\0{password}".encode()
    _send(
        connection,
        (10, 11),
        _long(_client_properties()) + _short(b"PLAIN") + _long(response) + _short(b"en_US"),
    )
    tune = _expect(connection, _TUNE, f"user {user!r} or its password is refused")
    _send(connection, (10, 31), tune[:8])
    _send(connection, (10, 40), _short(vhost.encode()) + _short(b"") + b"\0")
    _expect(connection, _OPEN_OK, f"virtual host {vhost!r} is refused")
    _send(connection, _CLOSE, struct.pack(">H", 200) + _short(b"") + struct.pack(">HH", 0, 0))
    return _server_version(start)


def _client_properties() -> bytes:
    # With this capability the broker says why it refuses; without it, it goes silent for some seconds.
    flag = _short(b"authentication_failure_close") + b"t\x01"
    return _short(b"capabilities") + b"F" + _long(flag)


def _expect(connection: socket.socket, method: tuple[int, int], otherwise: str) -> bytes:
    kind, _, size = struct.unpack(">BHL", _read(connection, 7, otherwise))
    payload = _read(connection, size + 1, otherwise)[:-1]
    got = struct.unpack(">HH", payload[:4])
    if kind != 1 or got != method:
        # connection.close carries the broker's own words behind its code.
        text = payload[7 : 7 + payload[6]].decode(errors="replace") if got == _CLOSE else ""
        raise LoginFailed(f"{otherwise} {text}".strip())
    return payload[4:]


def _read(connection: socket.socket, size: int, otherwise: str) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise LoginFailed(otherwise)
        data += chunk
    return data


def _send(connection: socket.socket, method: tuple[int, int], arguments: bytes) -> None:
    payload = struct.pack(">HH", *method) + arguments
    connection.sendall(struct.pack(">BHL", 1, 0, len(payload)) + payload + b"\xce")


def _short(value: bytes) -> bytes:
    return struct.pack(">B", len(value)) + value


def _long(value: bytes) -> bytes:
    return struct.pack(">L", len(value)) + value


def _server_version(start: bytes) -> str:
    at = start.find(_VERSION)
    if at < 0:
        return "unknown"
    begin = at + len(_VERSION)
    (size,) = struct.unpack(">L", start[begin : begin + 4])
    return start[begin + 4 : begin + 4 + size].decode(errors="replace")
