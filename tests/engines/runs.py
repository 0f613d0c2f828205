"""A run of `iadsr` on an engine, watched from outside, and its result against that of a run on this machine."""

import dataclasses
import hashlib
import json
import subprocess
import time
from pathlib import Path

from benchmarks.clusters import descendants

OPTIONS = ["--shards", "6", "--drop-rate", "0.1"]
"""Of every run whose result is compared."""
RUN_SECONDS = 600


@dataclasses.dataclass
class Run:
    """A run of `iadsr` in a process of its own."""

    process: subprocess.Popen
    output: Path

    def wait(self) -> str:
        """Waits for its end. Returns what it said."""
        said, _ = self.process.communicate(timeout=RUN_SECONDS)
        return said

    def staged(self, prefix: str) -> list[Path]:
        return [path for path in self.output.glob(f".staging/*/{prefix}*") if not path.name.startswith(".tmp-")]

    def wait_for_shards(self, others=lambda: True) -> None:
        """Waits until a shard is staged, and something else holds."""
        self.wait_until(lambda: self.staged("ruled-") and others())

    def wait_until(self, holds) -> None:
        while not holds():
            assert self.process.poll() is None, self.wait()
            time.sleep(0.02)

    def below(self) -> dict[int, str]:
        """Returns the processes that it has started, with their command lines."""
        return descendants([self.process.pid])


def files(output: Path) -> dict[str, str]:
    """Every file of a result but report and manifest, with a hash of its bytes."""
    return {
        path.relative_to(output).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(output.rglob("*.parquet"))
    }


def manifest(output: Path) -> dict:
    """The manifest without what may differ: times, the run's own token, and how it was run."""
    content = json.loads((output / "manifest.json").read_text())
    for name in ("run", "started_at", "finished_at", "durations_seconds", "options"):
        content.pop(name, None)
    return content


def everything(output: Path) -> set[str]:
    """The names of all files and folders in a directory."""
    return {path.relative_to(output).as_posix() for path in output.rglob("*")}


def assert_same(output: Path, local: Path) -> None:
    """Checks that a result is that of a run on this machine, with nothing beside it."""
    assert files(output) == files(local)
    assert len(files(local)) >= 18
    assert manifest(output) == manifest(local)
    assert everything(output) == everything(local)


def command_of(process: int) -> str:
    """Returns the command line of a process; nothing if it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
