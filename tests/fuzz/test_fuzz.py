"""Readers answer mutated real files with one of our errors, with rejected rows or with a right answer; nothing else.

`IADSR_FUZZ=10 pytest tests/fuzz` runs ten times as many cases.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

CASES = {"log": 5000, "embeddings": 1800, "catalogue": 900, "weights": 500, "config": 1000, "manifest": 1000}
TIMES = int(os.environ.get("IADSR_FUZZ", "1"))


def test_mutated_files_never_end_in_anything_but_our_errors(tmp_path):
    assert sum(CASES.values()) >= 10_000
    arguments = [f"{kind}:0:{count * TIMES}" for kind, count in CASES.items()]
    result = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("readers.py")), str(tmp_path), *arguments],
        capture_output=True,
        text=True,
        timeout=600 * TIMES,
        check=False,
    )
    assert result.returncode == 0, f"{(tmp_path / 'case').read_text()} ended the process:\n{result.stderr[-2000:]}"
    results = [json.loads(line) for line in result.stdout.splitlines()]
    assert [one["kind"] for one in results] == list(CASES)
    failures = [(one["kind"], failure) for one in results for failure in one["failures"]]
    assert not failures, failures[:3]
    # The mutations get past the outermost check: some files are read, and some fail late.
    ends = {one["kind"]: one["ends"] for one in results}
    assert all(one["read"] > 50 for kind, one in ends.items() if kind != "manifest")
    assert ends["log"]["rejected rows"] > 200
    assert ends["embeddings"]["VECTORS-READ"] > 50
    assert ends["config"]["MODEL-VALUE"] > 50
    assert ends["manifest"]["VERIFY-MANIFEST"] > 100
    print({one["kind"]: (one["cases"], one["ends"]) for one in results})
