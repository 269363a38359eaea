"""Nothing secret leaves in a log line or a span, whichever logger wrote it."""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import BaseModel, ValidationError

from msgkit.runtime.logs import configure_logs, get_logger, register_secret
from msgkit.runtime.redaction import Redactor
from msgkit.runtime.telemetry import ScrubbingExporter

TELEGRAM = "123456789:AAF-canary_CANARYcanaryCANARYcanary0"
VIBER = "4453b6ac12345678-abcdef0123456789-0123456789abcdef"
META = "EAAGm0PX4ZCpsBACanaryCANARYcanary"
JWT = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl"
PHONE = "+380671234567"
EXACT = 'p"ss\\wörd-canary'

CANARIES = {
    "telegram_token": (f"call {TELEGRAM} failed", "AAF-canary"),
    "telegram_token_encoded": (f"call {TELEGRAM.replace(':', '%3A')}", "AAF-canary"),
    "telegram_path": (f"https://api.telegram.org/bot{TELEGRAM}/sendMessage", "AAF-canary"),
    "telegram_path_of_a_short_token": ("http://127.0.0.1:8090/bot1001:canary/getMe", "canary"),
    "viber_token": (f"X-Viber-Auth-Token: {VIBER}", "abcdef0123456789"),
    "meta_token": (f"?access_token={META}&x=1", "CANARY"),
    "jwt": (f"got {JWT}", "eyJzdWI"),
    "bearer": ("Authorization: Bearer opaque-canary_1", "opaque-canary"),
    "broker_password": ("amqp://rozmova:canary@127.0.0.1:5672/", "canary"),
    "phone": (f"from {PHONE}.", "67123"),
    "phone_grouped": ("from +38 (067) 123-45-67", "123-45"),
    "phone_encoded": ("?phone=%2B380671234567", "67123"),
    "phone_without_plus": ("from 380671234567", "67123"),
    "phone_abroad": ("from +442071838750!", "83875"),
}


@pytest.mark.parametrize(("text", "secret"), CANARIES.values(), ids=CANARIES.keys())
def test_scrubs(text: str, secret: str) -> None:
    scrubbed = Redactor().scrub(text)
    assert secret not in scrubbed
    assert "***" in scrubbed


INNOCENT = [
    "2026-11-21T22:09:00.123456+00:00",
    "10.20.30.40:5672 answered in 1234567890 ns",
    "message 5f0c1e6a9b7d4c2f8a3e1d0b9c8f7a6e of channel 0b1c",
    "GET /api/v1/conversations/{id}/messages?limit=50",
    "chat -1001234567890 update 987654321",
    "http://127.0.0.1:8081/webhooks/telegram_bot/abc",
    "/bots/list and /bot/help",
    "Надіслано о 12:03, 1+1=2",
]


@pytest.mark.parametrize("text", INNOCENT)
def test_leaves_ordinary_text_alone(text: str) -> None:
    assert Redactor().scrub(text) == text


def test_registered_secrets_are_scrubbed_also_inside_json() -> None:
    redactor = Redactor()
    redactor.register(EXACT)
    for line in (EXACT, json.dumps({"x": EXACT}), json.dumps({"x": EXACT}, ensure_ascii=False)):
        assert "canary" not in redactor.scrub(line)


def test_a_secret_that_is_part_of_another_does_not_uncover_the_rest() -> None:
    redactor = Redactor()
    redactor.register("canary-short")
    redactor.register("canary-short-and-longer")
    assert redactor.scrub("x canary-short-and-longer y") == "x *** y"


def test_short_values_do_not_tear_holes_into_words() -> None:
    redactor = Redactor()
    redactor.register("guest")
    redactor.register("")
    assert redactor.scrub("guest list") == "guest list"


@pytest.fixture
def log_lines(capsys: pytest.CaptureFixture[str]) -> Iterator[Any]:
    """Logs as a service writes them; call it for the lines so far."""
    root = logging.getLogger()
    before = list(root.handlers), root.level, sys.excepthook
    configure_logs("testing", "DEBUG")
    register_secret(EXACT)

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    yield lines
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook = before[0], before[1], before[2]
    structlog.reset_defaults()


ALL_SECRETS = " ".join([*(text for text, _ in CANARIES.values()), EXACT])


def _fail() -> None:
    raise RuntimeError(ALL_SECRETS)


def _assert_clean(lines: list[dict[str, Any]]) -> None:
    assert lines
    raw = json.dumps(lines, ensure_ascii=False)
    for name, (_, secret) in CANARIES.items():
        assert secret not in raw, name
    assert "rd-canary" not in raw


def test_structlog_lines_are_clean(log_lines: Any) -> None:
    log = get_logger("ours")
    log.info(ALL_SECRETS)
    log.warning("field", detail=ALL_SECRETS, nested={"list": [ALL_SECRETS]})
    log.debug("positional %s", ALL_SECRETS)
    try:
        _fail()
    except RuntimeError:
        log.exception("failed")
    lines = log_lines()
    assert len(lines) == 4
    assert "Traceback" in lines[-1]["exception"]
    _assert_clean(lines)


@pytest.mark.parametrize(
    "name", ["httpx2", "httpcore2.http11", "aiogram.event", "aio_pika", "uvicorn.error", "asyncio", "new"]
)
def test_lines_of_libraries_are_clean(log_lines: Any, name: str) -> None:
    logger = logging.getLogger(name)
    logger.error(ALL_SECRETS)
    logger.error("args %s", ALL_SECRETS)
    logger.error("extra", extra={"detail": ALL_SECRETS})
    try:
        _fail()
    except RuntimeError:
        logger.exception("failed")
    lines = log_lines()
    assert len(lines) == 4
    assert {line["service"] for line in lines} == {"testing"}
    _assert_clean(lines)


@pytest.mark.parametrize("name", ["httpx2", "httpcore2.http11", "aiogram.event", "aiormq.connection"])
def test_libraries_that_log_addresses_are_silent_even_at_debug(log_lines: Any, name: str) -> None:
    logging.getLogger(name).info("HTTP Request: POST https://example.org/secret")
    assert log_lines() == []


def test_chained_exceptions_are_clean(log_lines: Any) -> None:
    try:
        try:
            _fail()
        except RuntimeError as exc:
            raise KeyError("outer") from exc
    except KeyError:
        get_logger("ours").exception("failed")
    lines = log_lines()
    assert "RuntimeError" in lines[0]["exception"]
    _assert_clean(lines)


def test_a_clients_words_in_a_validation_error_are_hidden(log_lines: Any) -> None:
    class Body(BaseModel):
        n: int

    words = " ".join(["у", "мене", "болить", "зуб"])  # not one literal: a traceback shows the source line
    try:
        Body.model_validate({"n": words})
    except ValidationError:
        get_logger("ours").exception("failed")
    assert words not in json.dumps(log_lines(), ensure_ascii=False)


def test_fields_that_hold_contents_are_hidden(log_lines: Any) -> None:
    get_logger("ours").info("slip", text="привіт", phone="067 123 45 67", Authorization="x", message_id="m1")
    line = log_lines()[0]
    assert (line["text"], line["phone"], line["Authorization"], line["message_id"]) == (
        "***",
        "***",
        "***",
        "m1",
    )


def test_a_line_break_cannot_forge_a_line(log_lines: Any) -> None:
    get_logger("ours").info('a\r\n{"event": "forged"}\x1b[2J', name="b\nc")
    logging.getLogger("theirs").error('a\n{"event": "forged"}')
    assert [line["logger"] for line in log_lines()] == ["ours", "theirs"]


def test_uncaught_exceptions_and_warnings_are_logged_clean(
    log_lines: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError(ALL_SECRETS)
    sys.excepthook(RuntimeError, error, None)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(True)
        warnings.warn(ALL_SECRETS, stacklevel=1)
    captured = log_lines()
    assert captured[0]["event"] == "uncaught_exception"
    assert captured[1]["logger"] == "py.warnings"
    _assert_clean(captured)
    assert "canary" not in capsys.readouterr().err


def test_bytes_are_not_written(log_lines: Any) -> None:
    get_logger("ours").info("raw", data="привіт".encode())
    assert log_lines()[0]["data"] == "<bytes>"


def test_spans_are_clean_and_logs_name_the_trace(log_lines: Any) -> None:
    memory = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(ScrubbingExporter(memory)))
    register_secret(EXACT)
    with provider.get_tracer("t").start_as_current_span(f"call {TELEGRAM}") as current:
        current.set_attribute("url.full", ALL_SECRETS)
        current.set_attribute("list", [ALL_SECRETS, "b"])
        current.set_attribute("count", 3)
        current.record_exception(RuntimeError(ALL_SECRETS))
        get_logger("ours").info("inside")
    provider.shutdown()
    found = memory.get_finished_spans()[0]
    written = found.to_json()
    for name, (_, secret) in CANARIES.items():
        assert secret not in written, name
    assert found.attributes is not None
    assert found.attributes["count"] == 3
    assert f"{found.context.trace_id:032x}" == log_lines()[0]["trace_id"]
