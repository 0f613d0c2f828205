import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.run import published_runs
from iadsr.transforms.run.published_runs import LATEST, latest_run, locate, publish


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
