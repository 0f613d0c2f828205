import io
import time

import pytest
from rich.console import Console

from iadsr.pipeline import progress as module
from iadsr.pipeline.progress import Progress, watch_files


def shown(terminal: bool):
    sink = io.StringIO()
    return sink, Progress(Console(file=sink, force_terminal=terminal, width=120))


def test_a_pipe_gets_one_line_per_finished_task():
    sink, progress = shown(terminal=False)
    with progress.task("Reading") as task:
        task.advance_to(5, 10)
        task.note = "10 rows"
    with progress.task("Waiting"):
        pass
    assert sink.getvalue() == "Reading: 10 rows\nWaiting: done\n"


def test_a_terminal_gets_bars_that_end_full():
    sink, progress = shown(terminal=True)
    with progress.task("Training", total=1.0) as task:
        task.update(0.5, "epoch 3")
    assert "Training" in sink.getvalue()
    assert "100%" in sink.getvalue()


def test_a_failed_task_is_not_called_done():
    sink, progress = shown(terminal=False)
    with pytest.raises(ValueError, match="no"), progress.task("Reading"):
        raise ValueError("no")
    assert sink.getvalue() == ""


def test_finished_files_are_counted_while_the_pipeline_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.01)
    seen = []
    monkeypatch.setattr(module.Task, "update", lambda self, completed, note=None: seen.append(completed))
    _, progress = shown(terminal=False)
    with watch_files(progress, "Cleaning", [(str(tmp_path), "part-", 3)], rows=30):
        for number in range(2):
            (tmp_path / f"part-{number}").touch()
            (tmp_path / f"other-{number}").touch()
            deadline = time.monotonic() + 5
            while number + 1 not in seen and time.monotonic() < deadline:
                time.sleep(0.01)
    assert {1, 2} <= set(seen)
    assert seen[-1] == 3
