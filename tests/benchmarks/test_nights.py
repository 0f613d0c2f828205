import os
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.nights import Kill, describe_kill, kill_tree, make_older, write_days


def test_the_log_grows_by_what_lies_before_the_end_of_a_day_and_a_broken_feed_loses_rows(tmp_path):
    log = pa.table({"item": list(range(100)), "timestamp": list(range(100, 0, -1))})
    write_days(log, tmp_path, {"a": 81, "b": 91, "c": 101}, {"b"})
    rows = {day: pq.read_table(tmp_path / day)["timestamp"].to_pylist() for day in "abc"}
    assert rows["a"] == list(range(1, 81))
    assert rows["b"] == list(range(1, 91, 3))
    assert rows["c"] == list(range(1, 101))


def test_everything_that_descends_from_a_process_is_killed(tmp_path):
    child = f"import time, pathlib; pathlib.Path({str(tmp_path / 'up')!r}).touch(); time.sleep(600)"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], start_new_session=True)"
    process = subprocess.Popen([sys.executable, "-c", parent])
    kill = Kill(tmp_path / "up", 0.1)
    deadline = time.monotonic() + 60
    while not kill.is_due():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    kill_tree(process.pid)
    assert process.wait(60) == -9
    listed = subprocess.run(["ps", "-e", "-o", "args="], capture_output=True, text=True, check=True).stdout
    assert not [line for line in listed.splitlines() if str(tmp_path) in line and "defunct" not in line]


def test_files_are_made_to_look_older(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").touch()
    make_older(tmp_path, 10)
    age = time.time() - os.stat(tmp_path / "model" / "config.json").st_mtime
    assert abs(age / 86_400 - 10) < 0.01


def test_what_is_told_of_a_kill_follows_from_the_states_of_the_tasks():
    assert describe_kill({}) == "killed between tasks"
    assert describe_kill({"embed": "success", "clean": "running", "export": "None"}) == "killed in clean"
    assert describe_kill({"embed": "success", "train": "skipped"}) == "ended before it was to be killed"
