import pytest

from iadsr.transforms.files import storage
from iadsr.transforms.read.read_splits import SplitCounts
from iadsr.transforms.run.resuming import discard_work_on_other_rows


def count(valid: int, checksum: int) -> SplitCounts:
    return SplitCounts("log", valid, {}, 0.0, checksum)


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
    discard_work_on_other_rows(output, staging, [count(3, 5), count(2, 2**64 - 1)])
    work = ["interactions/part-0", "sequences/part-0", ".staging/x/scored-00000.arrow"]
    others = ["rejected/part-0", ".staging/x/slices-00000.arrow", ".staging/run.json"]
    for name in (*work, *others):
        storage.write_atomically(storage.join(output, *name.split("/")), lambda file: file.write(b""))
    discard_work_on_other_rows(output, staging, rerun)
    left = set(storage.list_names(output)) - {".staging/x/valid_rows"}
    assert left == {*others, *(work if kept else [])}
    discard_work_on_other_rows(output, staging, rerun)
    assert set(storage.list_names(output)) - {".staging/x/valid_rows"} == left
