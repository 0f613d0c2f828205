import dataclasses
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest

from iadsr.models.core.errors import ConservationError, InputError
from iadsr.transforms.files.tables import WrittenFile
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.read.read_splits import SplitCounts, row_checksum
from iadsr.transforms.run.conservation import check_conservation, check_rejected
from iadsr.transforms.run.manifest import ModelOrigin
from iadsr.transforms.run.run_facts import RunDescription, RunFacts
from iadsr.transforms.write.lookalike_users import id_forms
from iadsr.transforms.write.summary import Summary, merge_summaries

DESCRIPTION = RunDescription("0.1.0", "2026-11-23T14:10:00+00:00", ModelOrigin("model", "ab", "sasrec", {}), {}, {}, {})
FACTS = RunFacts({"a.parquet": 10, "b.parquet": 5}, Policy(), DESCRIPTION)
COUNTS = [
    SplitCounts("a.parquet", 6, {"null user_id": 1}, 0.0, written=WrittenFile("out/rejected/part-0", 1, 0, "")),
    SplitCounts("a.parquet", 3, {}, 0.0),
    SplitCounts("b.parquet", 5, {}, 0.0),
]


def summary(kept: tuple[int, int], dropped: tuple[int, int], checksum: int = 0) -> Summary:
    """Of rows kept and dropped in each of the two files."""
    empty = np.zeros((2, 1), int)
    return Summary(
        Counter({"noise:short_term": sum(dropped)}),
        sum(kept),
        np.array([1, 1, 0]),
        *(empty, empty, empty, empty),
        seconds={"score": 1.0},
        examples=[],
        files=np.array([kept, dropped]),
        checksum=checksum,
        written=[
            WrittenFile("out/interactions/part-0", sum(kept) + sum(dropped), 0, ""),
            WrittenFile("out/sequences/part-0", 1, 0, ""),
            WrittenFile("out/users/part-0", 1, 0, ""),
        ],
        found=np.zeros((2, 0), int),
        id_forms=id_forms(pa.array([], pa.string())),
        standing_out=[],
    )


def test_rows_that_add_up_pass():
    check_conservation(FACTS, COUNTS, merge_summaries([summary((4, 4), (1, 1)), summary((4, 0), (0, 0))]))


def test_a_lost_split_is_found_by_file():
    with pytest.raises(ConservationError) as error:
        check_conservation(FACTS, [COUNTS[0], COUNTS[2]], summary((6, 5), (0, 0)))
    for word in ("a.parquet", "6 valid + 1 rejected = 7", "10, as the file's footer says"):
        assert word in str(error.value)


@pytest.mark.parametrize(("kept", "dropped"), [((8, 3), (1, 1)), ((8, 5), (1, 1))])
def test_rows_lost_or_doubled_after_reading_are_found_by_file(kept, dropped):
    with pytest.raises(ConservationError, match=r"b\.parquet were lost or written twice") as error:
        check_conservation(FACTS, COUNTS, summary(kept, dropped))
    assert "5 valid rows read" in str(error.value)


def test_a_row_that_took_the_place_of_another_is_found():
    counts = [dataclasses.replace(count, checksum=2**64 - 5) for count in COUNTS]
    check_conservation(FACTS, counts, summary((8, 4), (1, 1), checksum=2**64 - 15))
    with pytest.raises(ConservationError, match="not the same"):
        check_conservation(FACTS, counts, summary((8, 4), (1, 1), checksum=7))


@pytest.mark.parametrize("folder", ["interactions", "sequences", "users", "rejected"])
@pytest.mark.parametrize("rows", [-1, 1])
def test_a_file_that_holds_other_rows_than_were_counted_is_found(folder, rows):
    counts, total = list(COUNTS), summary((8, 4), (1, 1))
    files = [*total.written, counts[0].written]
    changed = [
        dataclasses.replace(file, rows=file.rows + rows * (folder in file.path)) for file in files if file is not None
    ]
    counts[0] = dataclasses.replace(counts[0], written=changed.pop())
    with pytest.raises(ConservationError, match=f"files in {folder}/ do not hold the rows"):
        check_conservation(FACTS, counts, dataclasses.replace(total, written=changed))


def test_checksums_of_parts_add_up_and_tell_sets_of_rows_apart():
    rows = np.random.default_rng(0).permutation(1000)
    parts = [row_checksum(pa.array(part)) for part in np.split(rows, 7 * [0] + [300, 900])]
    assert sum(parts) % 2**64 == row_checksum(pa.array(np.arange(1000)))
    exchanged = np.arange(1000)
    exchanged[[3, 6]] = [4, 5]  # as many, and of the same sum
    assert row_checksum(pa.array(exchanged)) != row_checksum(pa.array(np.arange(1000)))


@pytest.mark.parametrize(("rejected", "stops"), [(3, False), (4, True), (14, True), (15, False)])
def test_more_rejected_rows_than_allowed_stop_the_run_unless_nothing_is_left_anyway(rejected, stops):
    facts = dataclasses.replace(FACTS, max_rejected=0.2)
    counts = [SplitCounts("a.parquet", 15 - rejected, {"null user_id": rejected}, 0.0)]
    if not stops:
        check_rejected(facts, counts)
        return
    with pytest.raises(InputError, match="than --max-rejected allows") as error:
        check_rejected(facts, counts)
    assert f"{rejected} of 15 rows" in str(error.value)
    assert "at most 20.0%" in str(error.value)


def test_exactly_the_allowed_share_may_be_rejected():
    facts = dataclasses.replace(FACTS, rows_by_file={"a.parquet": 100}, max_rejected=0.29)  # 28.999... in floats
    check_rejected(facts, [SplitCounts("a.parquet", 71, {"null user_id": 29}, 0.0)])
    with pytest.raises(InputError):
        check_rejected(facts, [SplitCounts("a.parquet", 70, {"null user_id": 30}, 0.0)])


def test_a_run_without_usable_rows_says_why():
    facts = dataclasses.replace(FACTS, rows_by_file={"a": 2})
    with pytest.raises(InputError, match=r"empty item_id \(2 rows\)"):
        check_conservation(facts, [SplitCounts("a", 0, {"empty item_id": 2}, 0.0)], None)
