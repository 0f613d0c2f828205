"""The suite itself: what it says about tests that did not run, and directories that its processes share."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

TESTS = """
import pathlib
import pytest

@pytest.mark.parametrize("number", [1, 2, 3])
def test_needs_a_browser(number):
    pytest.skip("no browser: install one")

@pytest.mark.skipif(True, reason="no data: set DATA")
def test_needs_data(): ...

@pytest.mark.xfail
def test_that_fails():
    assert False

@pytest.mark.parametrize("number", range(8))
def test_share_a_directory(made_once, number):
    made = made_once("shared", make)
    assert (made / "content").read_text() == "whole"
    with open(made.parent / "log", "a") as log:
        print("used", made, file=log)

def make(directory):
    with open(directory.parent / "log", "a") as log:
        print("made", file=log)
    (directory / "content").write_text("whole")
"""


def test_side_by_side_tests_share_a_directory_and_the_end_says_what_was_not_tested(tmp_path):
    shutil.copy(Path(__file__).with_name("conftest.py"), tmp_path)
    (tmp_path / "test_example.py").write_text(TESTS)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "-p", "no:cacheprovider", "--basetemp=made"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    result = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    *_, said = result.stdout.partition(" not tested ")
    assert said.splitlines()[1:5] == [
        "no browser: install one",
        "    3 tests in test_example.py",
        "no data: set DATA",
        "    1 test in test_example.py",
    ]
    lines = (tmp_path / "made" / "log").read_text().splitlines()
    assert lines == ["made", *[f"used {tmp_path / 'made' / 'shared'}"] * 8]
