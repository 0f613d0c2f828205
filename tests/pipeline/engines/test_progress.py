import io
import re
import time

import pytest
from rich.console import Console

from iadsr.pipeline.engines import progress as module
from iadsr.pipeline.engines import watch_files as watching
from iadsr.pipeline.engines.progress import Progress
from iadsr.pipeline.engines.watch_files import FileStep, watch_files


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
    monkeypatch.setattr(module.Task, "update", lambda self, completed, note=None: seen.append((completed, note)))
    _, progress = shown(terminal=True)
    steps = [FileStep(str(tmp_path), "part-", 3, share=0.9), FileStep(str(tmp_path), "last-", 1, share=0.1)]
    with watch_files(progress, "Cleaning", steps, rows=30):
        for number in range(2):
            (tmp_path / f"part-{number}").touch()
            (tmp_path / f"other-{number}").touch()
            deadline = time.monotonic() + 5
            while not seen or seen[-1][0] < 9 * (number + 1) - 1e-9:
                assert time.monotonic() < deadline
                time.sleep(0.01)
    assert [round(done) for done in dict.fromkeys(done for done, _ in seen)][-3:] == [9, 18, 30]
    assert re.fullmatch(r"30 rows, [\d,]+ a second", seen[-1][1])


def test_nobody_lists_files_for_a_pipe(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "POLL_SECONDS", 0.001)
    listed = []
    monkeypatch.setattr(watching, "list_names", lambda directory: listed.append(directory) or [])
    sink, progress = shown(terminal=False)
    with watch_files(progress, "Cleaning", [FileStep(str(tmp_path), "part-", 1, share=1)], rows=5):
        time.sleep(0.05)
    assert not listed
    assert re.fullmatch(r"Cleaning: 5 rows, [\d,]+ a second\n", sink.getvalue())
