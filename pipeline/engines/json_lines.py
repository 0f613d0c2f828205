"""Log lines for log collectors: one JSON object a line on the standard error."""

import json
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any


class JsonLines:
    """Writes lines. Each has time, level, event, message, command and pid, the run once it is known, and more.

    Args:
        stream: Where to write; None: the standard error, whatever that is when a line is written.
    """

    def __init__(self, stream: Any = None):
        self._stream = stream
        self._common: dict[str, Any] = {"command": None, "pid": os.getpid()}

    def about(self, **fields: Any) -> None:
        """Adds fields to all lines from now on."""
        self._common |= fields

    def write(self, level: str, event: str, message: str, **fields: Any) -> None:
        """Writes a line. Fields that are None are left out."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        given = {name: value for name, value in fields.items() if value is not None}
        line = {"time": now, "level": level, "event": event, "message": message, **self._common, **given}
        # Only ASCII: text from the data may hold anything. In one call: threads write too.
        (self._stream or sys.stderr).write(json.dumps(line, default=str) + "\n")
        (self._stream or sys.stderr).flush()

    def handler(self) -> logging.Handler:
        """Returns a handler that writes records of Python's logging. Python's warnings become records too."""
        logging.captureWarnings(True)
        logging.getLogger("py.warnings").setLevel(logging.WARNING)
        return _Records(self)


class _Records(logging.Handler):
    def __init__(self, lines: JsonLines):
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            trace = logging.Formatter().formatException(record.exc_info) if record.exc_info else None
            message = record.getMessage()
            self._lines.write(record.levelname.lower(), "log", message, logger=record.name, trace=trace)
        except Exception:  # as every handler of Python's does: a log must not stop the work
            self.handleError(record)
