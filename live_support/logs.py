"""Logs: structured lines by structlog, and the libraries' warnings. They never hold content, names or ids."""

import logging
import sys
from hashlib import sha256
from typing import Final

import structlog
from structlog.typing import EventDict, Processor

from live_support.settings import Settings

_LIBRARIES: Final = (
    *("uvicorn", "uvicorn.access", "uvicorn.asgi", "uvicorn.error"),
    *("picows", "websockets", "websockets.server"),
)
"""The loggers of libraries that read from clients."""


def configure(settings: Settings, service: str | None = None, worker: int | None = None) -> None:
    """Send all logs to standard error, in the format that is set.

    Each line names the service, and the worker if there are several.
    """
    shared: list[Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    source = {name: value for name, value in (("service", service), ("worker", worker)) if value is not None}

    def add_source(_: object, __: str, event: EventDict) -> EventDict:
        return {**event, **source}

    shared.append(add_source)
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    )
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler()
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            foreign_pre_chain=shared,
        )
    )
    handler.addFilter(_ours_or_a_warning)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    quiet_libraries()


def quiet_libraries() -> None:
    """Let libraries that read from clients log warnings only, whatever level is set.

    At INFO they log paths, which hold the chatId, and at DEBUG the headers of each handshake, with the tokens, and
    each frame.
    """
    for name in _LIBRARIES:
        library = logging.getLogger(name)
        library.setLevel(logging.WARNING)  # so they do not format a line for each frame
        library.addFilter(_no_more_than_faults_of_ours)  # stays when the level is changed


def _ours_or_a_warning(record: logging.LogRecord) -> bool:
    # structlog sets this attribute on its own records; those of libraries do not have it.
    return record.levelno >= logging.WARNING or hasattr(record, "_logger")


def _no_more_than_faults_of_ours(record: logging.LogRecord) -> bool:
    # uvicorn logs a traceback for a frame that is not UTF-8, so any client could fill the disk.
    return record.levelno >= logging.WARNING and not record.getMessage().startswith("Invalid UTF-8 sequence")


def fingerprint(secret_id: str) -> str:
    """Return a short one-way hash of an id, for correlating log lines."""
    return sha256(secret_id.encode()).hexdigest()[:8]
