"""A run is finished or clearly is not, whatever stops it, and a rerun goes on where it was cut off."""

import multiprocessing
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from rich.console import Console

from iadsr.models.core.errors import IadsrError, InputError
from iadsr.models.core.option import build
from iadsr.pipeline.commands.clean import run_clean
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.pipeline.engines.progress import Progress
from iadsr.pipeline.engines.runner import beam_options
from iadsr.transforms.judge import score_shards as scoring
from iadsr.transforms.judge import scored_shard as staging
from iadsr.transforms.rules import rule_log
from iadsr.transforms.run import run_store
from iadsr.transforms.run.output_directory import locked
from iadsr.transforms.run.run_store import MARKER, RunMarker, RunStore, read_marker, write_marker
from iadsr.transforms.run.verification import verify_output
from iadsr.transforms.write import shards as writing

SHARDS = 6
# CI tries a few; `IADSR_KILLS=50 pytest tests/pipeline/test_resume.py` is what docs/reliability.md reports.
KILLS = int(os.environ.get("IADSR_KILLS", "4"))


def options(world, output, **changes) -> CleanOptions:
    settings = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    return build(CleanOptions, {**settings, "output": output, "shards": SHARDS, "drop_rate": 0.1, **changes})


def run(world, output, console=None, flags=(), **changes):
    progress = Progress(console or Console(quiet=True))
    return run_clean(options(world, output, **changes), beam_options(list(flags)), progress).manifest


def contents(output: Path) -> dict[str, bytes]:
    """Everything in a directory but what tells of the time: manifest and report."""
    files = (path for path in sorted(output.rglob("*")) if path.is_file())
    return {str(p.relative_to(output)): p.read_bytes() for p in files if p.name not in ("manifest.json", "report.html")}


@pytest.fixture(scope="module")
def undisturbed(world, tmp_path_factory) -> dict[str, bytes]:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    run(world, output)
    return contents(output)


def stop_after(monkeypatch, module, name: str, calls: int) -> list:
    """Lets a function of a module fail after some calls; returns the list of calls."""
    original, seen = getattr(module, name), []

    def wrapped(*arguments, **keywords):
        if len(seen) == calls:
            raise InputError("stopped", code="STOP", found="a test", fix="none")
        seen.append(arguments)
        return original(*arguments, **keywords)

    monkeypatch.setattr(module, name, wrapped)
    return seen


def cut_off(world, output, module, name: str, calls: int, **changes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, module, name, calls)
        with pytest.raises(InputError, match="stopped"):
            run(world, output, **changes)


def test_a_rerun_scores_only_the_shards_that_were_not_scored(world, undisturbed, tmp_path, monkeypatch, capsys):
    cut_off(world, tmp_path / "out", staging, "write_arrow", 4)
    with pytest.raises(InputError, match="holds no finished run"):
        verify_output(str(tmp_path / "out"))
    scored = stop_after(monkeypatch, scoring, "score_shard", 99)
    run(world, tmp_path / "out", Console(stderr=True, width=200))
    assert len(scored) == SHARDS - 4
    assert "Resuming the unfinished run" in capsys.readouterr().err
    assert contents(tmp_path / "out") == undisturbed


def test_a_rerun_rules_only_the_shards_that_were_not_ruled(world, undisturbed, tmp_path, monkeypatch):
    cut_off(world, tmp_path / "out", rule_log, "write_arrow", 4)
    ruled = stop_after(monkeypatch, rule_log, "rule_shard", 99)
    run(world, tmp_path / "out")
    assert len(ruled) == SHARDS - 4
    assert contents(tmp_path / "out") == undisturbed


def test_a_rerun_of_rules_alone_goes_on_too(world, tmp_path, monkeypatch):
    alone = {"embeddings": None, "model": None, "rules_only": True, "drop_rate": "auto", "last_interactions": 4}
    run(world, tmp_path / "fresh", **alone)
    cut_off(world, tmp_path / "out", writing, "write_table", 5, **alone)
    ruled = stop_after(monkeypatch, rule_log, "rule_shard", 99)
    manifest = run(world, tmp_path / "out", **alone)
    assert len(ruled) == 0
    assert (manifest.rows.dropped, manifest.model) == (1600, None)
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_rerun_writes_only_the_files_that_were_not_written(world, undisturbed, tmp_path, monkeypatch):
    cut_off(world, tmp_path / "out", writing, "write_table", 5)
    before = {path: path.stat().st_ino for path in (tmp_path / "out").rglob("part-*.parquet")}
    scored = stop_after(monkeypatch, scoring, "score_shard", 99)
    written = stop_after(monkeypatch, writing, "write_table", 99)
    run(world, tmp_path / "out")
    assert len(before) == 5
    assert (len(scored), len(written)) == (0, 3 * SHARDS - 5)
    assert {path: path.stat().st_ino for path in before} == before
    assert contents(tmp_path / "out") == undisturbed
    verify_output(str(tmp_path / "out"))


def write_log_with_a_damaged_row_group(world, path: Path) -> bytes:
    """Writes a log of which one row group cannot be read; returns its bytes without the damage."""
    pq.write_table(world.log(), path, row_group_size=320)
    whole = path.read_bytes()
    chunk = pq.ParquetFile(path).metadata.row_group(4).column(0)
    start, size = chunk.dictionary_page_offset or chunk.data_page_offset, chunk.total_compressed_size
    path.write_bytes(whole[:start] + b"\xff" * size + whole[start + size :])
    return whole


def mend(path: Path, whole: bytes) -> None:
    """Mends a file that keeps size and time of change, as if a file system had failed to read it for a while."""
    changed = path.stat().st_mtime_ns
    path.write_bytes(whole)
    os.utime(path, ns=(changed, changed))


def test_rows_that_a_run_rejected_and_its_rerun_does_not_are_not_left_behind(world, tmp_path):
    log = tmp_path / "log.parquet"
    whole = write_log_with_a_damaged_row_group(world, log)
    settings = {"interactions": str(log), "on_bad_file": "skip", "max_rejected": 0.05}
    with pytest.raises(InputError) as error:
        run(world, tmp_path / "out", **settings)
    assert error.value.code == "ROWS-REJECTED"
    assert list((tmp_path / "out" / "rejected").iterdir())
    mend(log, whole)
    assert run(world, tmp_path / "out", **settings).rows.rejected == 0
    verify_output(str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("module", "name", "calls"),
    [(rule_log, "write_arrow", 4), (staging, "write_arrow", 4), (writing, "write_table", 5)],
)
def test_nothing_is_kept_of_a_run_that_could_read_fewer_rows(world, tmp_path, module, name, calls):
    log = tmp_path / "log.parquet"
    whole = write_log_with_a_damaged_row_group(world, log)
    settings = {"interactions": str(log), "on_bad_file": "skip", "max_rejected": 0.5}
    cut_off(world, tmp_path / "out", module, name, calls, **settings)
    mend(log, whole)
    manifest = run(world, tmp_path / "out", **settings)
    run(world, tmp_path / "fresh", **settings)
    assert manifest.rows.kept + manifest.rows.dropped == manifest.rows.read
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")
    verify_output(str(tmp_path / "out"))


@pytest.mark.parametrize("joins", [("shuffle", "shuffle"), ("shuffle", "broadcast"), ("broadcast", "shuffle")])
def test_a_run_is_gone_on_with_whichever_way_items_met_their_vectors(world, undisturbed, tmp_path, monkeypatch, joins):
    monkeypatch.setattr(
        "iadsr.transforms.items.joined_items.ITEM_SHARD_BYTES", 500
    )  # more parts than one, of this tiny catalogue
    cut_off(world, tmp_path / "out", staging, "write_arrow", 2, join=joins[0])
    scored = stop_after(monkeypatch, scoring, "score_shard", 99)
    run(world, tmp_path / "out", join=joins[1])
    assert len(scored) == SHARDS - 2
    assert contents(tmp_path / "out") == undisturbed
    verify_output(str(tmp_path / "out"))


@pytest.mark.parametrize("changes", [{"drop_rate": 0.2}, {"shards": 5}, {"repeats": "drop"}, {"interactions": "other"}])
def test_a_rerun_with_other_arguments_or_input_starts_afresh_and_says_so(world, tmp_path, monkeypatch, capsys, changes):
    cut_off(world, tmp_path / "out", writing, "write_table", 3)
    if "interactions" in changes:
        pq.write_table(world.log().slice(0, 3000), tmp_path / "log.parquet")
        changes = {"interactions": str(tmp_path / "log.parquet")}
    scored = stop_after(monkeypatch, scoring, "score_shard", 99)
    run(world, tmp_path / "out", Console(stderr=True, width=200), **changes)
    run(world, tmp_path / "fresh", **changes)
    assert len(scored) == 2 * changes.get("shards", SHARDS)
    name = "input" if "interactions" in changes else "rules" if "repeats" in changes else "options"
    assert f"the unfinished run in {tmp_path / 'out'} differs in {name}." in capsys.readouterr().err
    assert contents(tmp_path / "out") == contents(tmp_path / "fresh")


def test_a_mark_that_cannot_be_read_is_not_taken_for_none(world, undisturbed, tmp_path, monkeypatch):
    cut_off(world, tmp_path / "out", staging, "write_arrow", 4)
    before = contents(tmp_path / "out")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(patch, run_store, "read_bytes", 0)
        with pytest.raises(InputError, match="stopped"):
            run(world, tmp_path / "out")
        with pytest.raises(InputError, match="stopped"):
            RunStore("staging", str(tmp_path / "out"), SHARDS, {}, "any").check_still_ours()
    assert contents(tmp_path / "out") == before
    scored = stop_after(monkeypatch, scoring, "score_shard", 99)
    run(world, tmp_path / "out")
    assert len(scored) == SHARDS - 4
    assert contents(tmp_path / "out") == undisturbed


def test_a_late_attempt_writes_nothing_where_another_run_has_begun(world, tmp_path, monkeypatch):
    original = writing.describe_users

    def another_begins(*arguments):
        write_marker(str(tmp_path / "out"), RunMarker({}, "another", ready=True))
        return original(*arguments)

    monkeypatch.setattr(writing, "describe_users", another_begins)
    with pytest.raises(InputError) as error:
        run(world, tmp_path / "out")
    assert error.value.code == "OUTPUT-TAKEN"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {".staging"}


def test_what_a_run_that_was_cut_off_while_clearing_up_left_is_not_taken_for_its_own(world, undisturbed, tmp_path):
    """Between a finished run that is overwritten and the new one, old files stand under the new run's names."""
    run(world, tmp_path / "out", drop_rate=0.3)
    cut_off(world, tmp_path / "out", writing, "write_table", 0, overwrite=True)
    marker = read_marker(str(tmp_path / "out"))
    assert marker is not None
    write_marker(str(tmp_path / "out"), RunMarker(marker.identity, marker.token, ready=False))
    (tmp_path / "out" / "interactions").mkdir(exist_ok=True)
    (tmp_path / "out" / "interactions" / f"part-00000-of-{SHARDS:05d}.parquet").write_bytes(b"of another run")
    run(world, tmp_path / "out", overwrite=True)
    assert contents(tmp_path / "out") == undisturbed


def test_a_run_that_was_killed_after_its_manifest_is_finished_by_a_rerun(world, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setattr(RunStore, "remove_staging", lambda store: None)
    manifest = run(world, tmp_path / "out")
    monkeypatch.undo()
    assert (tmp_path / "out" / MARKER).exists()
    scored = stop_after(monkeypatch, scoring, "score_shard", 99)
    assert run(world, tmp_path / "out") == manifest
    assert scored == []
    assert contents(tmp_path / "out") == undisturbed
    with pytest.raises(InputError, match="already holds a finished run"):
        run(world, tmp_path / "out")


def test_a_run_that_was_killed_while_it_set_its_mark_is_not_taken_for_somebody_elses(world, undisturbed, tmp_path):
    (tmp_path / "out" / ".staging").mkdir(parents=True)
    (tmp_path / "out" / ".staging" / ".tmp-0123456789abcdef-run.json").write_bytes(b"{")
    run(world, tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed


def test_two_runs_into_one_directory_one_is_refused(world, undisturbed, tmp_path):
    with locked(str(tmp_path / "out")):
        with pytest.raises(InputError, match="Another run is writing into") as error:
            run(world, tmp_path / "out")
        assert error.value.code == "OUTPUT-BUSY"
    run(world, tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed


def test_a_killed_run_leaves_no_lock_behind(tmp_path):
    code = (
        "import sys, time\nfrom iadsr.transforms.run.output_directory import locked\n"
        "with locked(sys.argv[1]):\n    print('locked', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    with pytest.raises(InputError, match="Another run"), locked(str(tmp_path)):
        pass
    holder.kill()
    holder.wait()
    with locked(str(tmp_path)):
        pass


def test_where_nothing_can_be_locked_a_run_that_was_taken_over_does_not_close(world, store, monkeypatch):
    for name in ("interactions", "embeddings", "model"):
        root = Path(getattr(world, name))
        for path in root.rglob("*.*"):
            store.files[f"memory://b/{name}/{path.relative_to(root)}"] = path.read_bytes()
    settings = {name: f"memory://b/{name}" for name in ("interactions", "embeddings", "model")}
    original = scoring.score_shard

    def take_over(*arguments):
        write_marker("memory://b/out", RunMarker({}, "another run's", ready=True))
        return original(*arguments)

    monkeypatch.setattr(scoring, "score_shard", take_over)
    with pytest.raises(InputError, match="has taken over memory://b/out"):
        run(world, "memory://b/out", **settings)
    assert "memory://b/out/manifest.json" not in store.files


def test_an_output_inside_the_log_is_refused(world, tmp_path):
    with pytest.raises(InputError, match="lies inside the input"):
        run(world, Path(world.interactions) / "out")
    assert not (Path(world.interactions) / "out").exists()


def test_an_output_that_is_a_file_or_holds_links_is_refused(world, tmp_path):
    (tmp_path / "file").write_bytes(b"precious")
    for output in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError) as error:
            run(world, output)
        assert error.value.code == "OUTPUT-CREATE"
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "part.parquet").write_bytes(b"precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "interactions").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a symbolic link"):
        run(world, tmp_path / "out")
    assert (tmp_path / "elsewhere" / "part.parquet").read_bytes() == b"precious"


RUN = """
import json, resource, signal, sys
from iadsr.models.core.errors import IadsrError
from iadsr.pipeline import clean
if limit:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
try:
    clean(drop_rate=0.1, beam=flags, **settings)
except IadsrError as error:
    sys.exit(f"{error.code} {error.found}")
"""


@pytest.fixture(scope="module")
def start(world, tmp_path_factory):
    """Starts a run in a process of its own that has imported everything already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["iadsr.pipeline.commands.clean", "iadsr.models.detector.iadsr", "iadsr.pipeline.report.charts"]
    )
    paths = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}

    def start(output, limit=0, flags=()):
        settings = {**paths, "output": str(output), "shards": SHARDS}
        process = context.Process(target=exec, args=(RUN, {"settings": settings, "limit": limit, "flags": list(flags)}))
        process.start()
        return process

    start_up = start(tmp_path_factory.mktemp("warm") / "out")
    start_up.join()
    assert start_up.exitcode == 0
    return start


def check_state(output: Path, undisturbed: dict[str, bytes]) -> bool:
    """Returns whether a directory holds a finished run; what is there in part must be right as far as it goes."""
    if (output / "manifest.json").exists():
        verify_output(str(output))
        return True
    with pytest.raises(InputError, match="holds no finished run"):
        verify_output(str(output))
    for path in output.rglob("part-*.parquet"):
        assert path.read_bytes() == undisturbed[str(path.relative_to(output))]
    return False


def test_killed_at_any_moment_a_run_is_finished_or_not_and_a_rerun_completes_it(world, undisturbed, start, tmp_path):
    moments = random.Random(5)
    begun = time.monotonic()
    start(tmp_path / "timed").join()
    whole = time.monotonic() - begun
    finished = killed = started = 0
    while killed < KILLS:
        output, started = tmp_path / str(started), started + 1
        process = start(output)
        process.join(moments.uniform(0, whole))
        if process.exitcode is not None:
            assert process.exitcode == 0
            continue
        process.kill()
        process.join()
        killed += 1
        if check_state(output, undisturbed):
            finished += 1
        if (output / "manifest.json").exists() and not (output / MARKER).exists():
            with pytest.raises(InputError, match="already holds a finished run"):
                run(world, output)
        else:
            run(world, output)
        assert contents(output) == undisturbed
        verify_output(str(output))
    print(f"killed {killed} runs, {finished} of them after the manifest")


def test_workers_of_a_killed_run_end_with_it(start, undisturbed, tmp_path):
    process = start(tmp_path / "out", flags=["--direct_num_workers=2"])
    workers: list[str] = []
    while not workers:
        time.sleep(0.1)
        workers = workers_of(process.pid)
        assert process.is_alive()
    process.kill()
    process.join()
    latest = time.monotonic() + 30
    while any(os.path.exists(f"/proc/{worker}") for worker in workers):
        assert time.monotonic() < latest, "workers outlive their run"
        time.sleep(0.1)
    check_state(tmp_path / "out", undisturbed)


def workers_of(process: int | None) -> list[str]:
    """Numbers of the processes that are workers of a process."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"IADSR_MAIN_PROCESS={process}\0".encode() in environment:
            found.append(entry.name)
    return found


@pytest.mark.parametrize("limit", [100, 5_000, 30_000])
def test_a_disk_that_fills_up_is_told_and_does_no_damage(world, undisturbed, start, tmp_path, limit):
    """The limit is the kernel's, on the size of a file; what a write meets is the same as on a full disk."""
    process = start(tmp_path / "out", limit=limit)
    process.join()
    assert process.exitcode == 1
    assert not check_state(tmp_path / "out", undisturbed)
    assert list((tmp_path / "out").rglob(".tmp-*")) == []
    run(world, tmp_path / "out")
    assert contents(tmp_path / "out") == undisturbed


@pytest.mark.parametrize(
    "meddle",
    [
        lambda path: os.utime(path, (1, 1)),
        lambda path: path.unlink(missing_ok=True),
        lambda path: path.write_bytes(path.read_bytes() + b" "),
    ],
    ids=["touched", "gone", "longer"],
)
def test_a_file_that_changes_or_vanishes_under_the_run_is_named_and_nothing_is_finished(
    world, tmp_path, monkeypatch, meddle
):
    path = tmp_path / "log.parquet"
    pq.write_table(world.log(), path)
    original = scoring.score_shard
    monkeypatch.setattr(scoring, "score_shard", lambda *arguments: (meddle(path), original(*arguments))[1])
    with pytest.raises(InputError, match=r"log\.parquet changed while it was being read"):
        run(world, tmp_path / "out", interactions=str(path), shards=1)
    assert not (tmp_path / "out" / "manifest.json").exists()


def test_the_manifest_is_the_last_file_of_all(world, tmp_path, monkeypatch):
    monkeypatch.setattr(run_store, "_write_text", lambda path, text: 1 / 0)
    with pytest.raises(Exception, match="division"):
        run(world, tmp_path / "out")
    assert len(contents(tmp_path / "out")) > 2 * SHARDS
    monkeypatch.undo()
    manifest = run(world, tmp_path / "out")
    assert (tmp_path / "out" / "manifest.json").read_text() == manifest.to_json() + "\n"
    others = [path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.*") if path.name != "manifest.json"]
    assert (tmp_path / "out" / "manifest.json").stat().st_mtime_ns >= max(others)


def test_an_unknown_failure_is_never_taken_for_success(world, tmp_path, monkeypatch):
    monkeypatch.setattr(writing, "write_table", lambda *arguments, **settings: 1 / 0)
    with pytest.raises(Exception, match="division"):
        run(world, tmp_path / "out")
    with pytest.raises(IadsrError):
        verify_output(str(tmp_path / "out"))
