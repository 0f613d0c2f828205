import os
import subprocess
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.nights import Kill, kill_tree, make_older, write_days


def test_the_log_grows_evenly_in_the_order_of_time_and_a_broken_feed_loses_rows(tmp_path):
    log = pa.table({"item": list(range(100)), "timestamp": list(range(100, 0, -1))})
    write_days(log, tmp_path, ["a", "b", "c"], 0.8, {"b"})
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
