"""Logs: structured lines by structlog, those of the libraries included. They never hold content, names or ids."""

import logging
import sys
from hashlib import sha256

import structlog
from structlog.typing import EventDict, Processor

from live_support.settings import Settings


def configure(settings: Settings, service: str | None = None, worker: int | None = None) -> None:
    """Send all logs to standard error, in the format that is set; each line names the service, and the worker if there
    are several."""
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
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # At INFO uvicorn logs the path and query of every WebSocket, and the path holds the chatId.
    uvicorn = logging.getLogger("uvicorn.error")
    uvicorn.setLevel(max(level, logging.WARNING))
    uvicorn.addFilter(_no_client_faults)


def _no_client_faults(record: logging.LogRecord) -> bool:
    # uvicorn logs it for each bad frame, with a traceback, so any client could fill the disk.
    return not record.getMessage().startswith("Invalid UTF-8 sequence")


def short(secret_id: str) -> str:
    """Name an id in a log: enough to follow it, nothing to use it."""
    return sha256(secret_id.encode()).hexdigest()[:8]
