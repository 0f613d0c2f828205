import json
import shutil

import pytest
from typer.testing import CliRunner

from iadsr.models.core.errors import InputError, UsageError
from iadsr.pipeline import check, clean, publish, verify
from iadsr.pipeline.cli.app import app


@pytest.fixture(scope="module")
def runs(world, tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    paths = {"interactions": world.interactions, "embeddings": world.embeddings, "model": world.model}
    clean(**paths, output=root / "monday", drop_rate=0.05)
    clean(**{**paths, "interactions": f"{world.interactions}/a.parquet"}, output=root / "broken", drop_rate=0.05)
    return root


def test_the_command_line_shows_each_gate_and_exits_with_5_if_one_fails(runs):
    passed = CliRunner().invoke(app, ["check", str(runs / "monday")])
    assert passed.exit_code == 0
    assert "monday passes." in passed.stdout
    assert "rejected_rows" in passed.stdout
    failed = CliRunner().invoke(app, ["check", str(runs / "broken"), "--against", str(runs / "monday")])
    assert failed.exit_code == 5
    assert "broken does not pass: rows_change" in failed.stdout


def test_the_result_is_written_as_json(runs, tmp_path):
    result = check(str(runs / "broken"), against=runs / "monday", output=tmp_path / "result.json")
    written = json.loads((tmp_path / "result.json").read_text())
    assert written["passed"] is False is result.passed
    gates = {gate["name"]: gate for gate in written["gates"]}
    assert gates["rows_change"]["level"] == "fail"
    assert gates["rows_change"]["value"] == pytest.approx((3200 - 500) / 3200)
    assert gates["model_age"]["level"] == "ok"
    assert 0 <= gates["model_age"]["value"] < 1


def test_a_run_that_is_not_finished_and_a_place_that_cannot_be_written_to_are_refused(runs, tmp_path):
    with pytest.raises(InputError, match="no finished run"):
        check(str(tmp_path))
    with pytest.raises(UsageError, match="--output cannot be written"):
        check(str(runs / "monday"), output=tmp_path / "none" / "result.json")


def test_only_a_run_that_passes_is_published(runs, tmp_path):
    dataset = tmp_path / "dataset"
    shutil.copytree(runs / "monday", dataset / "run=1")
    shutil.copytree(runs / "broken", dataset / "run=2")
    shutil.copytree(runs / "monday", dataset / "run=3")
    first = CliRunner().invoke(app, ["publish", str(dataset / "run=1")])
    assert first.exit_code == 0
    assert f"Published: {dataset / 'LATEST'} is run=1." in first.stdout
    second = CliRunner().invoke(app, ["publish", str(dataset / "run=2"), "--keep-runs", "1"])
    assert second.exit_code == 5
    assert "Not published: LATEST stays at run=1." in second.stdout
    assert (dataset / "LATEST").read_text() == "run=1\n"
    third = publish(str(dataset / "run=3"), keep_runs=1)
    assert third.passed
    assert third.published.deleted == ("run=1",)
    assert sorted(path.name for path in dataset.iterdir()) == ["LATEST", "run=2", "run=3"]
    verify(str(dataset / "run=3"))
