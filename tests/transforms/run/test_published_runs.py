from types import SimpleNamespace

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.run import published_runs
from iadsr.transforms.run.published_runs import (
    LATEST,
    latest_run,
    locate,
    publish,
    retract,
    run_before,
    unpublished_run,
)
from iadsr.transforms.run.run_store import MACHINE, RunMarker, write_marker


@pytest.fixture
def dataset(tmp_path, monkeypatch):
    """Runs of five days, in the order in which they finished. Only their manifests' times are read."""

    class Finished:
        def __init__(self, run: str):
            self.finished_at = run.rpartition("/")[2]

    for day in range(1, 6):
        (tmp_path / f"run={day}").mkdir()
        (tmp_path / f"run={day}" / "manifest.json").touch()
        (tmp_path / f"run={day}" / "data").touch()
    monkeypatch.setattr(published_runs, "read_manifest", Finished)
    return tmp_path


def test_the_pointer_names_the_run_that_was_published_last(dataset):
    assert latest_run(str(dataset)) is None
    publish(str(dataset / "run=1"), None)
    publish(f"{dataset}/run=2/", None)
    assert (dataset / LATEST).read_text() == "run=2\n"
    assert latest_run(str(dataset)) == "run=2"
    assert (dataset / "run=1" / "_SUCCESS").exists()
    assert not (dataset / "run=3" / "_SUCCESS").exists()


def test_older_published_runs_are_deleted_and_no_others(dataset):
    for day in (1, 2, 4):
        assert publish(str(dataset / f"run={day}"), 3).deleted == ()
    done = publish(str(dataset / "run=5"), 2)
    assert done.deleted == ("run=1", "run=2")
    assert sorted(path.name for path in dataset.iterdir()) == [LATEST, "run=3", "run=4", "run=5"]
    assert publish(str(dataset / "run=5"), 2).deleted == ()


def test_a_run_of_an_earlier_day_that_is_published_again_stays(dataset):
    for day in (2, 3, 4):
        publish(str(dataset / f"run={day}"), None)
    done = publish(str(dataset / "run=1"), 1)
    assert done.deleted == ("run=2", "run=3", "run=4")
    assert latest_run(str(dataset)) == "run=1"


def test_a_pointer_to_nothing_and_a_run_that_is_nowhere_are_refused(dataset, monkeypatch):
    (dataset / LATEST).write_text("run=9\n")
    with pytest.raises(InputError, match="names no finished run"):
        latest_run(str(dataset))
    (dataset / LATEST).write_text("../elsewhere\n")
    with pytest.raises(InputError, match="names no finished run"):
        latest_run(str(dataset))
    for place in ("/", str(dataset / LATEST)):
        with pytest.raises(InputError, match="no run in a dataset directory"):
            locate(place)
    monkeypatch.chdir(dataset)
    assert locate("run=1") == (str(dataset), "run=1")


def test_runs_of_dates_are_in_the_order_of_their_dates(tmp_path, monkeypatch):
    monkeypatch.setattr(published_runs, "read_manifest", lambda run: SimpleNamespace(finished_at="now"))
    names = ["2026-11-28", "2026-11-26T12:00:00+00:00", "20261127T000000Z", "2026-11-30"]
    for name in names:
        (tmp_path / f"run={name}").mkdir()
        (tmp_path / f"run={name}" / "manifest.json").touch()
    for name in names[:3]:
        publish(f"{tmp_path}/run={name}", None, backwards=False)
    dataset = str(tmp_path)
    assert latest_run(dataset) == "run=2026-11-28"
    assert run_before(dataset, "run=2026-11-29") == "run=2026-11-28"
    assert run_before(dataset, "run=2026-11-28") == "run=20261127T000000Z"
    assert run_before(dataset, "run=2026-11-27T00:00:00") == "run=2026-11-26T12:00:00+00:00"
    assert run_before(dataset, "run=2026-11-26") is None
    assert run_before(dataset, "run=monday") == "run=2026-11-28"
    assert publish(f"{dataset}/run=2026-11-30", 2, backwards=False).deleted == (
        "run=2026-11-26T12:00:00+00:00",
        "run=20261127T000000Z",
    )
    assert retract(dataset, "run=2026-11-30") == "run=2026-11-28"
    assert retract(dataset, "run=2026-11-28") == "run=2026-11-30"


def test_publishing_that_was_cut_off_before_the_pointer_is_made_up_for(dataset):
    publish(f"{dataset}/run=1", None, backwards=False)
    (dataset / "run=2" / "_SUCCESS").touch()
    assert publish(f"{dataset}/run=2", None, backwards=False).latest == "run=2"
    assert publish(f"{dataset}/run=1", None, backwards=False).latest == "run=2"
    assert publish(f"{dataset}/run=1", None).latest == "run=1"


def test_a_run_that_is_not_published_is_known_by_its_identity(tmp_path, monkeypatch):
    mine, other = {"input": "a", MACHINE: "1"}, {"input": "b", MACHINE: "1"}
    for name, identity in {"run=1": mine, "run=2": other, "run=3": {**mine, MACHINE: "2"}, "elsewhere": mine}.items():
        write_marker(str(tmp_path / name), RunMarker(identity, "token", ready=True))
    dataset = str(tmp_path)
    assert unpublished_run(dataset, mine) == "run=3"
    (tmp_path / "run=3" / "_SUCCESS").touch()
    assert unpublished_run(dataset, mine) == "run=1"
    (tmp_path / "run=1" / "manifest.json").write_text('{"format_version": 1}')  # damaged
    assert unpublished_run(dataset, mine) is None
    assert unpublished_run(dataset, other) == "run=2"
    assert unpublished_run(str(tmp_path / "none"), mine) is None
