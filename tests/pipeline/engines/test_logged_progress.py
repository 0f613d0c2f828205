import io
import json
import time

import pytest

from iadsr.pipeline.engines import logged_progress as module
from iadsr.pipeline.engines.json_lines import JsonLines
from iadsr.pipeline.engines.logged_progress import LoggedProgress
from iadsr.pipeline.engines.watch_files import FileStep, watch_files


@pytest.fixture
def log():
    sink = io.StringIO()
    progress = LoggedProgress(JsonLines(sink))
    return progress, lambda: [json.loads(line) for line in sink.getvalue().splitlines()]


def test_a_task_is_told_at_its_start_now_and_then_and_at_its_end(log, monkeypatch):
    progress, lines = log
    with progress.task("Training", total=2.0) as task:
        task.update(0.5, "epoch 1")  # too soon for a line
        monkeypatch.setattr(module, "SECONDS_BETWEEN", -1)
        task._next = 0
        task.update(1.0, "epoch 2")
        task.advance_to(3, 4)
    start, *told, end = lines()
    assert (start["event"], start["task"]) == ("task_start", "Training")
    assert [(line["event"], line["done"], line["total"], line["message"]) for line in told] == [
        ("progress", 1.0, 2.0, "epoch 2"),
        ("progress", 3, 4, "3 of 4"),
    ]
    assert (end["event"], end["task"], end["message"]) == ("task_end", "Training", "3 of 4")
    assert end["seconds"] >= 0


def test_a_failed_task_has_no_end(log):
    progress, lines = log
    with pytest.raises(ValueError, match="no"), progress.task("Reading"):
        raise ValueError("no")
    assert [line["event"] for line in lines()] == ["task_start"]


def test_notes_and_all_that_follows_name_the_run(log):
    progress, lines = log
    progress.say("before")
    progress.about(run="abc")
    progress.say("after")
    assert [(line["level"], line["event"], line.get("run")) for line in lines()] == [
        ("warning", "note", None),
        ("warning", "note", "abc"),
    ]


def test_the_files_of_a_pipeline_are_counted_for_a_log(log, tmp_path, monkeypatch):
    progress, lines = log
    monkeypatch.setattr(module, "SECONDS_BETWEEN", 0)
    progress.poll_seconds = 0.01
    (tmp_path / "part-0").touch()
    with watch_files(progress, "Cleaning", [FileStep(str(tmp_path), "part-", 2, share=1)], rows=10):
        deadline = time.monotonic() + 5
        while not any(line.get("done") == 5 for line in lines()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert lines()[-1]["event"] == "task_end"
