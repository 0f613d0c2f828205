import os
import signal
import subprocess
import sys
import time

import pytest

GUARD = "iadsr.pipeline.engines.guard"


def test_the_exit_code_is_that_of_the_program():
    command = [sys.executable, "-m", GUARD, str(os.getpid()), sys.executable, "-c", "raise SystemExit(7)"]
    assert subprocess.run(command, check=False, timeout=60).returncode == 7


@pytest.mark.parametrize("program", ["import time; time.sleep(100)"])
def test_the_program_ends_with_the_guard(program, tmp_path):
    told = f"import os; open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid())); {program}"
    guard = subprocess.Popen([sys.executable, "-m", GUARD, str(os.getpid()), sys.executable, "-c", told])
    deadline = time.monotonic() + 60
    while not ((tmp_path / "pid").exists() and (tmp_path / "pid").read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    guard.send_signal(signal.SIGTERM)
    guard.wait(30)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
