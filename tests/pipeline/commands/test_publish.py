"""Runs in a dataset directory, from `clean --dataset` to the pointer."""

import json
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from iadsr.models.core.errors import InputError, UsageError
from iadsr.pipeline import clean, publish, verify
from iadsr.pipeline.cli.app import app
from iadsr.transforms.judge import score_shards as scoring
from iadsr.transforms.run import finish_run
from iadsr.transforms.run.run_store import RunMarker, write_marker
from iadsr.transforms.write import shards as writing


def write_log(path, users: int) -> str:
    names = [f"user-{number % users}" for number in range(users * 4)]
    log = {"user_id": names, "item_id": [f"item-{i}" for i in range(len(names))], "timestamp": range(len(names))}
    pq.write_table(pa.table(log), path)
    return str(path)


@pytest.fixture
def log(tmp_path) -> str:
    return write_log(tmp_path / "log.parquet", 100)


@pytest.fixture
def dataset(tmp_path):
    return tmp_path / "dataset"


def run(log, dataset, day=None, **options):
    return clean(interactions=log, dataset=dataset, run_id=day, rules_only=True, **options)


def latest(dataset) -> str:
    return (dataset / "LATEST").read_text().strip()


def runs(dataset) -> list[str]:
    return sorted(path.name for path in dataset.iterdir() if path.name != "LATEST")


def test_a_run_that_passes_is_published_and_old_ones_are_deleted(log, dataset):
    for day in ("2026-11-26", "2026-11-27"):
        assert run(log, dataset, day).passed
        assert latest(dataset) == f"run={day}"
    done = run(log, dataset, "2026-11-28", keep_runs=2)
    assert runs(dataset) == ["run=2026-11-27", "run=2026-11-28"]
    assert (dataset / "run=2026-11-28" / "_SUCCESS").exists()
    assert done.publication.check.against == str(dataset / "run=2026-11-27")
    assert str(done).splitlines()[-2:] == [
        f"Published: {dataset / 'LATEST'} is run=2026-11-28.",
        "Deleted: run=2026-11-26.",
    ]


def test_a_run_that_fails_a_gate_stays_where_it_is_and_can_be_let_through(log, dataset, tmp_path):
    run(log, dataset, "2026-11-27")
    broken = write_log(tmp_path / "broken.parquet", 30)
    command = ["clean", f"--interactions={broken}", f"--dataset={dataset}", "--run-id=2026-11-28", "--rules-only"]
    failed = CliRunner().invoke(app, command)
    assert failed.exit_code == 5
    assert "run=2026-11-28 does not pass: rows_change, users_change." in failed.stdout
    assert "Not published: LATEST stays at run=2026-11-27." in failed.stdout
    assert latest(dataset) == "run=2026-11-27"
    written = (dataset / "run=2026-11-28" / "manifest.json").read_bytes()
    # The run is there: only its gates are looked at again.
    assert CliRunner().invoke(app, command).exit_code == 5
    gates = tmp_path / "gates.yaml"
    gates.write_text("rows_change: off\nusers_change: off\n")
    assert CliRunner().invoke(app, [*command, f"--gates={gates}"]).exit_code == 0
    assert latest(dataset) == "run=2026-11-28"
    assert (dataset / "run=2026-11-28" / "manifest.json").read_bytes() == written


def test_a_run_that_breaks_off_leaves_the_pointer_and_the_same_command_goes_on(log, dataset, monkeypatch):
    run(log, dataset, "2026-11-27")
    with monkeypatch.context() as patched:
        patched.setattr(finish_run, "build_manifest", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            run(log, dataset, "2026-11-28")
    assert latest(dataset) == "run=2026-11-27"
    monkeypatch.setattr(writing, "write_table", lambda *_, **__: 1 / 0)  # all shards are written already
    assert run(log, dataset, "2026-11-28").passed
    assert latest(dataset) == "run=2026-11-28"


@pytest.mark.parametrize("finished", [False, True])
def test_without_an_id_the_same_command_goes_on_with_the_run_that_was_not_published(
    log, dataset, monkeypatch, finished
):
    with monkeypatch.context() as patched:
        if finished:
            patched.setattr("iadsr.pipeline.commands.clean.check_and_publish", lambda *_, **__: 1 / 0)
        else:
            patched.setattr(finish_run, "build_manifest", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            run(log, dataset)
    (name,) = runs(dataset)
    assert run(log, dataset).passed
    assert runs(dataset) == [name]
    assert latest(dataset) == name
    # A published run is not continued, and neither is one of another input.
    with monkeypatch.context() as patched:
        patched.setattr("iadsr.pipeline.commands.clean.check_and_publish", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(log, dataset, "later")
    os.utime(log, (1, 1))
    assert run(log, dataset).output not in (str(dataset / name), str(dataset / "run=later"))


def test_a_backfill_is_compared_with_the_day_before_it_and_does_not_move_the_pointer_back(log, dataset, tmp_path):
    small = write_log(tmp_path / "small.parquet", 30)
    run(small, dataset, "2026-11-20")
    gates = tmp_path / "gates.yaml"
    gates.write_text("rows_change: off\nusers_change: off\n")
    run(log, dataset, "2026-11-28", gates=gates)
    done = run(small, dataset, "2026-11-21", keep_runs=2)
    assert done.passed
    assert done.publication.check.against == str(dataset / "run=2026-11-20")
    assert "Published beside run=2026-11-28, to which" in str(done)
    assert latest(dataset) == "run=2026-11-28"
    assert runs(dataset) == ["run=2026-11-21", "run=2026-11-28"]
    assert publish(str(dataset / "run=2026-11-21"), gates=gates).latest == "run=2026-11-21"


def test_asking_again_for_a_run_that_is_published_changes_nothing(log, dataset):
    run(log, dataset, "one")
    run(log, dataset, "two")
    before = (dataset / "run=one" / "manifest.json").read_bytes()
    run(log, dataset, "one")
    assert latest(dataset) == "run=two"
    assert (dataset / "run=one" / "manifest.json").read_bytes() == before
    os.utime(log, (1, 1))
    with pytest.raises(InputError) as refused:
        run(log, dataset, "one")
    assert (refused.value.code, refused.value.found) == ("OUTPUT-FINISHED", "a run that differs in input")
    assert "--run-id" in str(refused.value)


def test_readers_take_the_run_before_while_the_latest_is_replaced(log, dataset, monkeypatch):
    run(log, dataset, "2026-11-27")
    run(log, dataset, "2026-11-28")
    with monkeypatch.context() as patched:
        patched.setattr(finish_run, "build_manifest", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            run(log, dataset, "2026-11-28", overwrite=True)
    assert latest(dataset) == "run=2026-11-27"
    assert run(log, dataset, "2026-11-28", overwrite=True).publication.check.against.endswith("run=2026-11-27")
    assert latest(dataset) == "run=2026-11-28"
    run(log, dataset, "only", keep_runs=1)
    with monkeypatch.context() as patched:
        patched.setattr(finish_run, "build_manifest", lambda *_: 1 / 0)
        with pytest.raises(Exception, match="division by zero"):
            run(log, dataset, "only", overwrite=True)
    assert not (dataset / "LATEST").exists()


def contents(output) -> dict[str, bytes]:
    """The Parquet files of a run."""
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(Path(output).rglob("*.parquet"))}


def test_a_run_takes_over_the_scores_of_users_who_have_not_changed_and_has_the_same_bytes(world, dataset, tmp_path):
    log, days = world.log(), tmp_path / "days"
    days.mkdir()
    late = pc.is_in(log["user_id"], pa.array([f"user-{user:03d}" for user in range(20)]))  # and two users are new
    new = pc.and_(late, pc.or_(pc.less(log["user_id"], "user-002"), pc.greater(log["rating"], 3)))
    pq.write_table(log.filter(pc.invert(new)), days / "1.parquet")
    paths = {"interactions": days, "embeddings": world.embeddings, "model": world.model, "drop_rate": 0.1}
    first = clean(**paths, dataset=dataset, run_id="2026-11-27")
    assert first.manifest.taken_over is None
    pq.write_table(log.filter(new), days / "2.parquet")
    # Another policy and other shards are no reason to score again.
    paths |= {"drop_rate": 0.05, "shards": 3, "repeats": "drop"}
    second = clean(**paths, dataset=dataset, run_id="2026-11-28")
    assert second.manifest.taken_over.run == "run=2026-11-27"
    assert second.manifest.taken_over.scored_users >= 380
    assert "Taken over from run=2026-11-27: the scores of 38" in str(second)
    clean(**paths, output=tmp_path / "alone")
    assert contents(dataset / "run=2026-11-28") == contents(tmp_path / "alone")
    verify(str(dataset / "run=2026-11-28"))
    # Only the latest run keeps its scores, and no run by itself does.
    assert [path.parent.name for path in dataset.rglob(".scores")] == ["run=2026-11-28"]
    assert not (tmp_path / "alone" / ".scores").exists()


def test_a_late_attempt_keeps_no_scores_where_another_run_has_begun(world, dataset, monkeypatch):
    original, output = scoring.score_asked, dataset / "run=2026-11-28"

    def another_begins(*arguments):
        write_marker(str(output), RunMarker({}, "another", ready=True))
        return original(*arguments)

    monkeypatch.setattr(scoring, "score_asked", another_begins)
    paths = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    with pytest.raises(InputError) as error:
        clean(**paths, dataset=dataset, run_id=output.name.partition("=")[2])
    assert error.value.code == "OUTPUT-TAKEN"
    assert list(output.rglob("part-*.npz")) == []


def test_a_file_of_gates_that_cannot_be_used_is_refused_before_the_work(log, dataset, tmp_path):
    (tmp_path / "gates.yaml").write_text("rows: 1\n")
    with pytest.raises(InputError) as refused:
        run(log, dataset, gates=tmp_path / "gates.yaml")
    assert refused.value.code == "GATES"
    assert not dataset.exists()


def test_a_job_that_is_started_later_cannot_be_published(log, dataset, tmp_path):
    with pytest.raises(UsageError) as refused:
        run(log, dataset, beam=["--output_executable_path", str(tmp_path / "job.jar"), "--runner=FlinkRunner"])
    assert refused.value.code == "OPTION-TEMPLATE"
    assert not dataset.exists()


def test_the_manifest_holds_the_identity_of_the_run_but_not_of_the_machine(log, dataset):
    output = run(log, dataset, "one").output
    with open(f"{output}/manifest.json", encoding="utf-8") as file:
        identity = json.load(file)["identity"]
    assert list(identity) == ["input", "options", "rules", "model", "embeddings", "versions", "processor"]


def test_a_user_who_is_to_be_forgotten_is_nowhere_in_the_next_run(log, dataset, tmp_path):
    run(log, dataset, "2026-11-27", report_users="plain")
    (tmp_path / "forget.txt").write_text("user-7\n")
    options = {"forget": tmp_path / "forget.txt", "report_users": "plain", "keep_runs": 1}
    manifest = run(log, dataset, "2026-11-28", **options).manifest
    assert manifest.reasons.rejected == {"forgotten user_id": 4}
    assert (manifest.rows.read, manifest.rows.kept, manifest.rows.rejected) == (400, 396, 4)
    assert runs(dataset) == ["run=2026-11-28"]
    verify(str(dataset / "run=2026-11-28"))
    texts = [str(pq.read_table(path).to_pydict()) for path in sorted(dataset.rglob("*.parquet"))]
    texts += [path.read_text() for path in dataset.rglob("*.*") if path.suffix in (".html", ".json")]
    assert not any("user-7'" in text or '"user-7"' in text or "user-7<" in text for text in texts)
    assert any("user-8'" in text for text in texts)
    (tmp_path / "forget.txt").write_text("user-7\nuser-8\n")  # another list is another input
    with pytest.raises(InputError) as refused:
        run(log, dataset, "2026-11-28", **options)
    assert refused.value.code == "OUTPUT-FINISHED"
