import os
import pickle

import pytest

from iadsr.models.core.errors import InputError
from iadsr.transforms.files import storage
from iadsr.transforms.read.read_splits import SplitCounts
from iadsr.transforms.run.run_store import MARKER, RunMarker, RunStore, read_marker, staging_folder, write_marker

IDENTITY = {"input": "one", "options": "two"}


def count(valid: int, checksum: int) -> SplitCounts:
    return SplitCounts("log", valid, {}, 0.0, checksum)


def touch(output, *names: str) -> None:
    for name in names:
        storage.write_atomically(storage.join(str(output), *name.split("/")), lambda file: file.write(b""))


def open_store(output, identity=IDENTITY, overwrite=False) -> tuple[RunStore, list[str]]:
    said: list[str] = []
    store = RunStore.open(str(output), identity, 2, overwrite=overwrite, say=said.append)
    assert store is not None
    return store, said


@pytest.mark.parametrize(
    ("rerun", "kept"),
    [
        ([count(3, 5), count(2, 2**64 - 1)], True),
        ([count(2, 2**64 - 1), count(3, 5)], True),
        ([count(3, 5), count(2, 7)], False),
        ([count(3, 5), count(1, 2**64 - 1)], False),
    ],
)
def test_work_is_kept_for_the_same_rows_only(tmp_path, rerun, kept):
    output, staging = str(tmp_path), str(tmp_path / ".staging" / "x")
    store = RunStore(staging, output, 1, {}, "token")
    write_marker(output, RunMarker({}, "token", ready=True))
    store.discard_work_on_other_rows([count(3, 5), count(2, 2**64 - 1)])
    work = ["interactions/part-0", "sequences/part-0", ".staging/x/scored-00000.arrow"]
    others = ["rejected/part-0", ".staging/x/slices-00000.arrow"]
    touch(output, *work, *others)
    others.append(MARKER)
    store.discard_work_on_other_rows(rerun)
    left = set(storage.list_names(output)) - {".staging/x/valid_rows"}
    assert left == {*others, *(work if kept else [])}
    store.discard_work_on_other_rows(rerun)
    assert set(storage.list_names(output)) - {".staging/x/valid_rows"} == left


def test_a_store_names_every_file_of_a_run(tmp_path):
    store, said = open_store(tmp_path / "out")
    out, staging = str(tmp_path / "out"), str(tmp_path / "out" / staging_folder(IDENTITY))
    assert said == []
    assert (store.output, store.staging) == (out, staging)
    assert store.interactions(1) == f"{out}/interactions/part-00001-of-00002.parquet"
    assert store.sequences(0) == f"{out}/sequences/part-00000-of-00002.parquet"
    assert store.rejected(7) == f"{out}/rejected/part-00007.parquet"
    assert (store.manifest, store.report) == (f"{out}/manifest.json", f"{out}/report.html")
    assert store.scored(3) == f"{staging}/scored-00003.arrow"
    assert store.joined_items(None) != store.joined_items(1)
    assert pickle.loads(pickle.dumps(store)) == store


def test_a_run_of_the_same_identity_finds_its_work_and_another_run_does_not(tmp_path):
    first, _ = open_store(tmp_path)
    scored = first.scored(0).removeprefix(f"{tmp_path}/")
    part = first.interactions(0).removeprefix(f"{tmp_path}/")
    touch(tmp_path, scored, part, "interactions/.tmp-1-part")
    again, said = open_store(tmp_path)
    assert said == [f"Resuming the unfinished run in {tmp_path}: 1 shards are scored, 1 are written."]
    assert storage.list_names(str(tmp_path)) == sorted([MARKER, scored, part])
    assert again.token != first.token
    again.check_still_ours()
    with pytest.raises(InputError) as error:
        first.check_still_ours()
    assert error.value.code == "OUTPUT-TAKEN"

    other, said = open_store(tmp_path, {**IDENTITY, "options": "three"})
    assert said == [f"Starting from the beginning: the unfinished run in {tmp_path} differs in options."]
    assert other.staging != first.staging
    assert storage.list_names(str(tmp_path)) == [MARKER]


def test_a_late_attempt_deletes_nothing_of_a_later_run(tmp_path):
    first, _ = open_store(tmp_path)
    later, _ = open_store(tmp_path)
    touch(tmp_path, later.scored(0).removeprefix(f"{tmp_path}/"))
    with pytest.raises(InputError, match="taken over"):
        first.discard_work_on_other_rows([])
    first.remove_staging()
    assert os.path.exists(later.scored(0))
    later.remove_staging()
    assert storage.list_names(str(tmp_path)) == []
    later.remove_staging()  # once more, as engines do


def test_what_was_not_cleared_yet_is_not_resumed(tmp_path):
    store, _ = open_store(tmp_path)
    touch(tmp_path, store.scored(0).removeprefix(f"{tmp_path}/"))
    write_marker(str(tmp_path), RunMarker(IDENTITY, store.token, ready=False))
    _, said = open_store(tmp_path)
    assert said == [f"Starting from the beginning: the unfinished run in {tmp_path} had hardly begun."]
    assert storage.list_names(str(tmp_path)) == [MARKER]


def test_a_finished_run_loses_its_staging_and_is_replaced_only_if_asked(tmp_path):
    store, _ = open_store(tmp_path)
    store.write_card("# A log")
    store.write_report("<p>")
    store.write_manifest('{"format_version": 1, "run": "another"}')
    touch(tmp_path, "interactions/.tmp-0-part.tmp", ".staging/x/scored-00000.arrow")
    store.remove_staging()
    with pytest.raises(InputError, match="taken over"):
        store.check_still_ours()
    assert storage.list_names(str(tmp_path)) == ["README.md", "manifest.json", "report.html"]
    with pytest.raises(InputError) as error:
        open_store(tmp_path)
    assert error.value.code == "OUTPUT-FINISHED"
    open_store(tmp_path, overwrite=True)
    assert storage.list_names(str(tmp_path)) == [MARKER]
    assert read_marker(str(tmp_path)) is not None
