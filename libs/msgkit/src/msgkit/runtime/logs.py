"""Logs: one JSON line per event on stdout, ours and the libraries', without secrets or phone numbers."""

from __future__ import annotations

import logging
import sys
from types import TracebackType
from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace

from msgkit.runtime.redaction import SCRUBBED, redactor

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_CHATTY_LOGGERS = (
    # At INFO they log addresses (a Telegram token is in the path) or one line per call.
    "httpx2", "httpcore2", "aiogram", "aiohttp", "aio_pika", "aiormq", "pymongo", "asyncio", "telethon",
    "uvicorn",
)  # fmt: skip

_SECRET_FIELDS = frozenset(
    {
        "authorization", "body", "cookie", "credentials", "password", "payload",
        "phone", "secret", "set-cookie", "text", "token",
    }
)  # fmt: skip
"""Fields nobody should log; if someone does, only the name is written."""


def configure_logs(service: str, level: str) -> None:
    """Sends every logger of the process to stdout as redacted JSON lines. May be called again.

    Args:
        service: Written into every line.
        level: DEBUG, INFO, WARNING or ERROR; libraries that log addresses stay at WARNING.
    """
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _add_trace,
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,  # microseconds dearer, but may be configured again
    )

    def add_service(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event["service"] = service
        return event

    handler = _Stdout()
    handler.setFormatter(
        _RedactingFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(allow=())],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                add_service,
                structlog.processors.StackInfoRenderer(),
                structlog.processors.format_exc_info,
                _hide_secret_fields,
                structlog.processors.JSONRenderer(ensure_ascii=False, default=_safe_repr),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY_LOGGERS:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
    logging.captureWarnings(True)
    sys.excepthook = _log_uncaught


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for events: `log.info("message_sent", message_id=…)`; never text, phones or tokens."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def register_secret(value: str) -> None:
    """Makes this exact value unreadable in every later log line and span; call it for each loaded secret."""
    redactor.register(value)


class _Stdout(logging.Handler):
    """Writes to what sys.stdout is now, and never falls back on writing an unredacted record to stderr."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            sys.stdout.write(self.format(record) + "\n")
            sys.stdout.flush()
        except Exception as exc:  # noqa: BLE001  # a line that cannot be written must not stop the work
            sys.stderr.write(f"a log line of {record.name!r} was lost: {type(exc).__name__}\n")


class _RedactingFormatter(structlog.stdlib.ProcessorFormatter):
    """Redacts the finished line, so message, fields and traceback are covered alike."""

    def format(self, record: logging.LogRecord) -> str:
        return redactor.scrub(super().format(record))


def _add_trace(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event


def _hide_secret_fields(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for name in event:
        if name.lower() in _SECRET_FIELDS:
            event[name] = SCRUBBED
    return event


def _safe_repr(value: object) -> str:
    return f"<{type(value).__name__}>" if isinstance(value, bytes | bytearray) else str(value)


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    # Python's own hook writes to stderr without redaction.
    if issubclass(kind, KeyboardInterrupt):
        return
    get_logger(__name__).critical("uncaught_exception", exc_info=(kind, error, traceback))
