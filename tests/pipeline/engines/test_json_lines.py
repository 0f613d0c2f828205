import io
import json
import logging
import os
from datetime import datetime

from iadsr.pipeline.engines.json_lines import JsonLines


def written(sink: io.StringIO) -> list[dict]:
    return [json.loads(line) for line in sink.getvalue().splitlines()]


def test_a_line_has_what_all_have_and_what_it_is_about():
    sink = io.StringIO()
    lines = JsonLines(sink)
    lines.write("info", "start", "iadsr clean", version="0.1.0", nothing=None)
    lines.about(command="clean", run="abc")
    lines.write("warning", "note", "a column \u202e\n\ud800", figures={"rows": 3})
    first, second = written(sink)
    assert datetime.fromisoformat(first.pop("time")).tzinfo is not None
    assert first == {
        "level": "info",
        "event": "start",
        "message": "iadsr clean",
        "command": None,
        "pid": os.getpid(),
        "version": "0.1.0",
    }
    assert (second["command"], second["run"], second["figures"]) == ("clean", "abc", {"rows": 3})
    assert second["message"] == "a column \u202e\n\ud800"
    assert sink.getvalue().isascii()


def test_records_of_libraries_become_lines_whatever_is_wrong_with_them(monkeypatch):
    monkeypatch.setattr(logging, "raiseExceptions", False)
    sink = io.StringIO()
    logger = logging.Logger("library")
    logger.addHandler(JsonLines(sink).handler())
    logging.captureWarnings(False)
    logger.warning("%s of %s", 1, 2)
    logger.info("%s of %s", 1)  # nothing to fill the second place: lost, as with any handler
    try:
        raise ValueError("no")
    except ValueError:
        logger.exception("failed")
    first, second = written(sink)
    assert (first["level"], first["event"], first["message"], first["logger"]) == (
        "warning",
        "log",
        "1 of 2",
        "library",
    )
    assert "trace" not in first
    assert second["level"] == "error"
    assert second["trace"].endswith("ValueError: no")
