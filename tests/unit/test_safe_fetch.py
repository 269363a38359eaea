"""Addresses that strangers chose: nothing closed is ever connected to, nothing big or slow is taken."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from pathlib import Path

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from msgkit.runtime.safe_fetch import FetchFailed, FetchRefused, SafeFetch, is_open

OPEN = "127.0.0.2"
"""Plays the open internet: allowed in these tests. 127.0.0.1 plays what must stay closed."""

Speak = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Listener:
    """A real server that counts who comes."""

    def __init__(self) -> None:
        self.connections = 0
        self.heads: list[str] = []
        self.says: Speak = plain(b"hello")
        self.port = 0
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, host, port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        self.connections += 1
        try:
            self.heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await self.says(writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, ssl.SSLError):
            pass  # the client went away, or the test ended
        finally:
            self._open.discard(task)
            writer.close()


def plain(body: bytes, *, status: int = 200, length: int | None = None, **headers: str) -> Speak:
    async def speak(writer: asyncio.StreamWriter) -> None:
        lines = [f"HTTP/1.1 {status} X", f"content-length: {len(body) if length is None else length}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    return speak


def endless(pause_s: float, size: int) -> Speak:
    async def speak(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(bytes(size))
            await writer.drain()
            await asyncio.sleep(pause_s)  # pace: the server is slow

    return speak


class Names:
    """A resolver with answers in turn; the last one stays."""

    def __init__(self, *answers: Iterable[str]) -> None:
        self.answers = [list(answer) for answer in answers]
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest_asyncio.fixture
async def closed() -> AsyncIterator[Listener]:
    """On 127.0.0.1: nobody may ever come."""
    listener = Listener()
    await listener.start("127.0.0.1")
    yield listener
    await listener.stop()
    assert listener.connections == 0


@pytest_asyncio.fixture
async def server(closed: Listener) -> AsyncIterator[Listener]:
    """On 127.0.0.2, on the same port as the closed one."""
    listener = Listener()
    await listener.start(OPEN, closed.port)
    yield listener
    await listener.stop()


@pytest_asyncio.fixture
async def fetch() -> AsyncIterator[SafeFetch]:
    """Allowed to the one server that plays the open internet."""
    fetch = SafeFetch(allowed_networks=[f"{OPEN}/32"])
    yield fetch
    await fetch.aclose()


async def body(fetch: SafeFetch, url: str, *, max_bytes: int = 1_000_000, total_s: float = 20) -> bytes:
    async with fetch.open(url, max_bytes=max_bytes, total_s=total_s) as answer:
        return b"".join([chunk async for chunk in answer.chunks])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[::]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fc00::1]",
        "[fe80::1]",
        "[fec0::1]",
        "[ff02::1]",
        "0.0.0.0",  # noqa: S104 - an address that is refused
        "0",
        "169.254.169.254",
        "2130706433",
        "0x7f000001",
        "017700000001",
        "0177.0.0.1",
        "127.1",
        "localhost",
        "localhost.",
        "LOCALHOST",
        "10.1.2.3",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "100.64.0.1",
        "198.18.0.1",
        "224.0.0.1",
        "255.255.255.255",
        "①②⑦.⓪.⓪.①",
        "ⓛocalhost",
        "раураl.com",
        "127.0.0.1%00.example.com",
        "127.0.0.1#@example.com",
        "example.com@127.0.0.1",
        "user:password@127.0.0.1",
        "127.0.0.1\\@example.com",
        "",
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_no_way_of_writing_a_closed_address_is_connected_to(
    closed: Listener, scheme: str, host: str
) -> None:
    for fetch in (SafeFetch(), SafeFetch(ports=[closed.port])):
        for port in ("", f":{closed.port}"):
            with pytest.raises((FetchRefused, FetchFailed)):
                await body(fetch, f"{scheme}://{host}{port}/", total_s=2)
        await fetch.aclose()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("ftp://example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://127.0.0.1:25/_x", "scheme"),
        ("//example.com", "scheme"),
        ("javascript:alert(1)", "scheme"),
        ("http://a@example.com/", "userinfo"),
        ("http://:@example.com/", "userinfo"),
        ("http://example.com:22/", "port"),
        ("http://example.com:5672/", "port"),
        ("http://example.com:27017/", "port"),
        ("http://салон.укр/", "host"),
        ("http://exa\x00mple.com/", "host"),
        ("http://[::1/", "host"),
        ("http://example.com:99999999/", "port"),
    ],
)
async def test_address_that_is_no_plain_address_is_refused(url: str, reason: str) -> None:
    names = Names(["93.184.215.14"])
    fetch = SafeFetch(resolver=names)
    with pytest.raises(FetchRefused) as refused:
        await body(fetch, url)
    assert refused.value.reason == reason
    assert names.asked == []
    await fetch.aclose()


@pytest.mark.parametrize(
    "answer",
    [
        ["127.0.0.1"],
        ["169.254.169.254"],
        ["93.184.215.14", "127.0.0.1"],
        ["::ffff:10.0.0.1"],
        ["fe80::1%eth0"],
    ],
)
async def test_name_with_any_closed_address_is_refused(answer: list[str]) -> None:
    fetch = SafeFetch(resolver=Names(answer))
    with pytest.raises(FetchRefused) as refused:
        await body(fetch, "http://metadata.google.internal/computeMetadata/v1/")
    assert refused.value.reason == "address"
    await fetch.aclose()


async def test_name_that_changes_its_mind_is_asked_once(server: Listener, closed: Listener) -> None:
    """DNS rebinding: open at the check, closed at the connection."""
    names = Names([OPEN], ["127.0.0.1"])
    fetch = SafeFetch(resolver=names, allowed_networks=[f"{OPEN}/32"])
    assert await body(fetch, f"http://rebind.example:{closed.port}/") == b"hello"
    assert names.asked == ["rebind.example"]
    with pytest.raises(FetchRefused):
        await body(fetch, f"http://rebind.example:{closed.port}/")
    assert server.connections == 1
    await fetch.aclose()


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/",
        "//127.0.0.1:{port}/",
        "http://localhost:{port}/",
        "https://127.0.0.1:{port}/",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "gopher://127.0.0.1:{port}/",
        "http://a@127.0.0.2:{port}/",
        "http://[::1",
    ],
)
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirect_is_checked_like_an_address(
    fetch: SafeFetch, server: Listener, status: int, target: str
) -> None:
    server.says = plain(b"", status=status, location=target.format(port=server.port))
    with pytest.raises(FetchRefused):
        await body(fetch, f"http://{OPEN}:{server.port}/")
    assert server.connections == 1


async def test_redirects_are_followed_three_times_and_carry_nothing_along(
    fetch: SafeFetch, server: Listener
) -> None:
    turns = iter(range(100))

    async def once_more(writer: asyncio.StreamWriter) -> None:
        step = next(turns)
        done = plain(b"there") if step == 3 else plain(b"", status=302, location=f"/step/{step}")
        await done(writer)

    server.says = once_more
    headers = {"Authorization": "Bearer canary"}
    async with fetch.open(f"http://{OPEN}:{server.port}/", max_bytes=100, headers=headers) as answer:
        assert [chunk async for chunk in answer.chunks] == [b"there"]
    assert ["canary" in head for head in server.heads] == [True, False, False, False]

    turns = iter(range(10, 100))
    with pytest.raises(FetchRefused) as refused:
        await body(fetch, f"http://{OPEN}:{server.port}/")
    assert refused.value.reason == "redirects"
    assert server.connections == 4 + 4


async def test_request_is_plain(fetch: SafeFetch, server: Listener) -> None:
    server.says = plain(b"{}", set_cookie="a=b", content_type="Application/JSON; charset=utf-8")
    for _ in range(2):
        async with fetch.open(f"http://{OPEN}:{server.port}/a?b=%D1%97", max_bytes=2) as answer:
            assert (answer.size_bytes, answer.mime) == (2, "application/json")
    first, second = server.heads
    assert first == second
    assert first.startswith("GET /a?b=%D1%97 HTTP/1.1\r\n")
    assert f"Host: {OPEN}:{server.port}\r\n" in first
    assert "Cookie" not in first
    assert "Accept-Encoding: identity" in first


@pytest.mark.parametrize(
    "says",
    [
        plain(b"x", length=10 * 1024**3),
        endless(0, 65536),
        plain(gzip.compress(bytes(10_000_000)), content_encoding="gzip"),
        plain(b"x", content_encoding="br"),
    ],
    ids=["announced", "endless", "gzip bomb", "brotli"],
)
async def test_too_much_is_not_taken(fetch: SafeFetch, server: Listener, says: Speak) -> None:
    server.says = says
    with pytest.raises(FetchRefused) as refused:
        await body(fetch, f"http://{OPEN}:{server.port}/", max_bytes=200_000)
    assert refused.value.reason in {"too_big", "encoded"}


async def hang(writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


@pytest.mark.parametrize("says", [endless(0.05, 1), hang], ids=["drip", "hang"])
async def test_slow_is_not_waited_for(fetch: SafeFetch, server: Listener, says: Speak) -> None:
    server.says = says
    with pytest.raises(FetchFailed, match="within"):
        await body(fetch, f"http://{OPEN}:{server.port}/", total_s=0.4)


@pytest.mark.parametrize("status", [204, 206, 304, 404, 500])
async def test_other_answers_are_failures_with_their_status(
    fetch: SafeFetch, server: Listener, status: int
) -> None:
    server.says = plain(b"", status=status)
    with pytest.raises(FetchFailed) as failed:
        await body(fetch, f"http://{OPEN}:{server.port}/")
    assert failed.value.status == status


async def broken_off(writer: asyncio.StreamWriter) -> None:
    await plain(b"half", length=100)(writer)


async def no_http(writer: asyncio.StreamWriter) -> None:
    writer.write(b"+OK redis\r\n\r\n")


@pytest.mark.parametrize("says", [broken_off, no_http])
async def test_broken_answers_are_failures(fetch: SafeFetch, server: Listener, says: Speak) -> None:
    server.says = says
    with pytest.raises(FetchFailed):
        await body(fetch, f"http://{OPEN}:{server.port}/")


async def test_nobody_there_is_a_failure_without_the_address(fetch: SafeFetch, unused_tcp_port: int) -> None:
    with pytest.raises(FetchFailed) as failed:
        await body(fetch, f"http://{OPEN}:{unused_tcp_port}/bot-canary-token/file")
    assert "canary" not in repr(failed.value)
    assert OPEN not in str(failed.value)


async def test_certificate_must_be_of_the_name_that_was_asked_for(tmp_path: Path) -> None:
    """The connection goes to a checked address, and still the name is what TLS proves."""
    server_side, client_side = _authority("good.example", tmp_path)
    seen: list[str | None] = []
    server_side.sni_callback = lambda _socket, name, _context: seen.append(name)
    listener = Listener()
    await listener.start(OPEN, tls=server_side)
    fetch = SafeFetch(resolver=Names([OPEN]), allowed_networks=[f"{OPEN}/32"], ssl_context=client_side)
    assert await body(fetch, f"https://good.example:{listener.port}/") == b"hello"
    assert seen == ["good.example"]
    assert f"Host: good.example:{listener.port}\r\n" in listener.heads[0]
    with pytest.raises(FetchFailed):
        await body(fetch, f"https://bad.example:{listener.port}/")
    assert len(listener.heads) == 1
    await fetch.aclose()
    await listener.stop()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("64:ff9b::5db8:d70e", True),
        ("::ffff:93.184.215.14", True),
        ("192.0.2.1", False),
        ("203.0.113.9", False),
        ("240.0.0.1", False),
        ("2001::1", False),
        ("2001:db8::1", False),
        ("64:ff9b:1::1", False),
        ("64:ff9b::a00:1", False),
        ("100::1", False),
        ("5f00::1", False),
    ],
)
def test_open_internet(text: str, expected: bool) -> None:
    assert is_open(ipaddress.ip_address(text)) is expected


def _authority(name: str, folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Contexts of a server with a certificate for `name`, and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    (folder / "cert").write_bytes(certificate.public_bytes(pem))
    (folder / "key").write_bytes(
        key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert", folder / "key")
    return server, ssl.create_default_context(cafile=str(folder / "cert"))
