"""How `make up` speaks with a gateway that was just started."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

import demo
from bootstrap import Problem

Gateway = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Starts one that answers with these statuses in turn, the last of them for ever; tells who asked."""
    with ExitStack() as stack:

        def start(*statuses: int) -> tuple[str, list[str]]:
            asked: list[str] = []

            class Answers(BaseHTTPRequestHandler):
                def do_DELETE(self) -> None:
                    asked.append(self.headers["Authorization"])
                    self.send_response(statuses[min(len(asked), len(statuses)) - 1])
                    self.send_header("Content-Length", "0")
                    self.end_headers()

                def log_message(self, *_: object) -> None:
                    pass

            server = HTTPServer(("127.0.0.1", 0), Answers)
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            threading.Thread(target=server.serve_forever, args=(0.01,)).start()
            return f"http://127.0.0.1:{server.server_address[1]}/api/v1/channels/c", asked

        yield start


def test_a_connector_that_has_not_told_its_new_address_is_waited_for(gateway: Gateway) -> None:
    url, asked = gateway(503, 503, 204)
    demo.remove_channel(url, {"Authorization": "Bearer t"})
    assert asked == ["Bearer t"] * 3


def test_a_refusal_is_told_at_once(gateway: Gateway) -> None:
    url, asked = gateway(403, 204)
    with pytest.raises(Problem, match=r"answers 403(.|\n)*make reset && make up"):
        demo.remove_channel(url, {"Authorization": "Bearer t"})
    assert len(asked) == 1


def test_a_connector_that_stays_away_is_told_in_the_end(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "_CONNECTOR_DEADLINE_SECONDS", 0)
    url, asked = gateway(503)
    with pytest.raises(Problem, match="answers 503"):
        demo.remove_channel(url, {"Authorization": "Bearer t"})
    assert asked
