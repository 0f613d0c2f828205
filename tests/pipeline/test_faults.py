"""A file system whose Nth operation fails, for every N of a small run: a clear error, no damage; a rerun completes it.

`IADSR_FAULTS=1 pytest tests/pipeline/test_faults.py` tries every N; without it some are tried, other ones each day,
so that CI comes round to all of them.
"""

import datetime
import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from apache_beam.io.filesystem import BeamIOError

from iadsr.models.core.errors import IadsrError
from iadsr.pipeline.commands.clean import run_clean
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.pipeline.engines.runner import beam_options
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.run.verification import verify_output

OUTPUT = "memory://bucket/out"
ERRORS = (
    lambda path: OSError(errno.ENOSPC, "No space left on device", path),
    lambda path: PermissionError(errno.EACCES, "Permission denied", path),
    lambda path: BeamIOError("request failed", {path: ConnectionResetError("reset by peer")}),
    lambda path: TimeoutError("timed out"),
)
STRIDE = int(os.environ.get("IADSR_FAULTS", "48"))
PATCHED = ("create", "open", "rename", "exists", "delete", "_list", "size", "last_updated", "metadata")


class Faults:
    """Counts the operations of a file system, and lets one of them fail."""

    def __init__(self):
        self.count, self.fail_at, self.failed = 0, 0, ""

    def tick(self, operation: str, path: object) -> None:
        self.count += 1
        if self.count == self.fail_at:
            self.failed = f"{operation} {path}"
            raise ERRORS[(self.count + self.count // STRIDE) % len(ERRORS)](str(path))

    def watch(self, file, path: str):
        """Returns a file whose reads and writes, and whose end, count as well."""
        for name in ("read", "write", "close"):
            original = getattr(file, name)

            def counted(*arguments, name=name, original=original):
                if not file.closed:
                    self.tick(name, path)
                return original(*arguments)

            setattr(file, name, counted)
        return file


@pytest.fixture
def faults(store, monkeypatch) -> Faults:
    """The faults of the memory file system; none until `fail_at` is set."""
    faults = Faults()
    for name in PATCHED:
        original = getattr(store, name)

        def counted(self, *arguments, name=name, original=original, **keywords):
            faults.tick(name, arguments[0])
            result = original(self, *arguments, **keywords)
            if name == "_list":
                return iter(list(result))
            return faults.watch(result, arguments[0]) if name in ("create", "open") else result

        monkeypatch.setattr(store, name, counted)
    return faults


@contextmanager
def failing(faults: Faults, number: int) -> Iterator[None]:
    faults.count, faults.fail_at, faults.failed = 0, number, ""
    try:
        yield
    finally:
        faults.fail_at = 0


@pytest.fixture
def run(world, store, tmp_path):
    """Puts a small log and all that belongs to it into the store; returns what cleans it."""
    log = world.log().slice(0, 240)
    pq.write_table(log, tmp_path / "log.parquet")
    store.files["memory://bucket/log/a.parquet"] = (tmp_path / "log.parquet").read_bytes()
    for name in ("embeddings", "model"):
        root = Path(getattr(world, name))
        for path in root.rglob("*.*"):
            store.files[f"memory://bucket/{name}/{path.relative_to(root)}"] = path.read_bytes()

    def run():
        log, embeddings, model = (f"memory://bucket/{name}" for name in ("log", "embeddings", "model"))
        options = CleanOptions(
            LogSource(log), OUTPUT, embeddings=embeddings, model=model, policy=Policy(drop_rate=0.1), shards=2
        )
        return run_clean(options, beam_options([])).manifest

    return run


def contents(store) -> dict[str, bytes]:
    unlike = ("manifest.json", "report.html")
    return {path: data for path, data in store.files.items() if path.startswith(OUTPUT) and not path.endswith(unlike)}


def clear(store) -> None:
    for path in [path for path in store.files if path.startswith(OUTPUT)]:
        del store.files[path]


def test_whichever_operation_fails_a_run_ends_in_our_error_and_a_rerun_completes_it(run, store, faults):
    faults.count = 0
    run()
    operations, undisturbed = faults.count, contents(store)
    inputs = {path: data for path, data in store.files.items() if not path.startswith(OUTPUT)}
    assert operations > 100
    first = 1 + datetime.date.today().toordinal() % STRIDE
    survived = failed = 0
    for number in range(first, operations + 1, STRIDE):
        clear(store)
        try:
            with failing(faults, number):
                run()
            survived += 1  # what failed was not needed, or was tried again
        except IadsrError:
            failed += 1
        except Exception as error:
            pytest.fail(f"operation {number}, {faults.failed}: {type(error).__name__} {error}")
        if not faults.failed:  # progress looks at the directory now and then: the number of operations varies a little
            survived -= 1
        if f"{OUTPUT}/manifest.json" in store.files:
            verify_output(OUTPUT)
        if f"{OUTPUT}/manifest.json" not in store.files or any("/.staging/" in path for path in store.files):
            run()
        assert contents(store) == undisturbed, faults.failed
        assert {path: data for path, data in store.files.items() if not path.startswith(OUTPUT)} == inputs
    assert failed > survived
    print(f"{operations} operations, {failed + survived} tried, {failed} ended the run, {survived} did not")


def test_a_directory_that_cannot_be_listed_is_not_taken_for_an_empty_one(run, store, faults):
    run()
    finished = dict(store.files)
    faults.count = 0
    with pytest.raises(IadsrError, match="already holds a finished run"):
        run()
    for number in range(1, faults.count + 1):
        with failing(faults, number), pytest.raises(IadsrError):
            run()
        assert store.files == finished
