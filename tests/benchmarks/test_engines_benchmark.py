import os
import subprocess
import sys

import numpy as np
import pytest

from benchmarks.clusters import EXECUTOR, PYTHON_WORKER, descendants, wait_for
from benchmarks.engines import Cost, row_of


def test_processes_below_others_are_found_with_their_command_lines():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()', 'the grandchild'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE) as child:
        wait_for("it", lambda: any("the grandchild" in command for command in descendants([child.pid]).values()))
        assert child.pid in descendants([os.getpid()])
        child.communicate(b"\n")


def test_what_does_not_come_is_told():
    with pytest.raises(TimeoutError, match="it: not after 0 seconds"):
        wait_for("it", lambda: False, 0)


def test_a_run_costs_what_its_processes_use_and_the_most_that_one_of_a_kind_holds(tmp_path):
    held = bytearray(50 << 20)
    (tmp_path / "file").write_bytes(held)
    mapped = np.memmap(tmp_path / "file", np.uint8, "r")
    assert not mapped.any()  # all of it has been read
    cost = Cost(wall_seconds=12.4)
    cost.look({os.getpid(): f"python -m {PYTHON_WORKER}", 2**30: "it has ended"})
    cost.look({os.getpid(): ""})  # as of a process that ends
    assert 0 < cost.cpu_seconds <= sum(os.times()[:2]) + 1e-9
    assert cost.cpu_of(PYTHON_WORKER) == cost.cpu_seconds
    assert cost.cpu_of(EXECUTOR) == 0
    assert cost.peak_bytes[PYTHON_WORKER] > len(held)
    assert cost.mapped_bytes[PYTHON_WORKER] > cost.peak_bytes[PYTHON_WORKER] + len(held)
    assert cost.peak_bytes[EXECUTOR] == 0


def test_a_row_compares_with_the_run_on_this_machine():
    here = Cost(10.0, {1: 20.0})
    peaks = {EXECUTOR: 3 << 29, PYTHON_WORKER: 1 << 30}
    there = Cost(7.6, {1: 19.0, 2: 7.0, 3: 4.0}, {2: EXECUTOR, 3: PYTHON_WORKER}, peaks)
    there.mapped_bytes[PYTHON_WORKER] = 3 << 30
    assert row_of("Spark", there, here) == "| Spark | 8 | 30 | 1.50 | 7 | 4 | 1,536 MiB | 1,024 MiB | 3,072 MiB |"
    assert row_of("here", here, here) == "| here | 10 | 20 | 1.00 |  |  |  |  |  |"
