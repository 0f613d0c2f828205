import numpy as np
import pytest

from iadsr.models.errors import ConservationError, InputError
from iadsr.transforms.deciding import DROP_REASONS, KEEP_REASONS, Policy
from iadsr.transforms.manifest import RunFacts, check_conservation
from iadsr.transforms.reading import SplitCounts
from iadsr.transforms.summary import Summary, merge_summaries

FACTS = RunFacts({"a.parquet": 10, "b.parquet": 5}, Policy(), np.zeros((6, 256)), {})
COUNTS = [
    SplitCounts("a.parquet", 6, {"null user_id": 1}, 0.0),
    SplitCounts("a.parquet", 3, {}, 0.0),
    SplitCounts("b.parquet", 5, {}, 0.0),
]


def summary(kept: int, dropped: int) -> Summary:
    reasons = np.zeros(len(DROP_REASONS), int)
    reasons[0] = dropped
    empty = np.zeros((2, 1), int)
    kept_reasons = np.zeros(len(KEEP_REASONS), int)
    return Summary(reasons, kept_reasons, kept, np.array([1, 1, 0]), empty, empty, empty, empty, {"score": 1.0}, [])


def test_rows_that_add_up_pass():
    check_conservation(FACTS, COUNTS, merge_summaries([summary(8, 2), summary(4, 0)]))


def test_a_lost_split_is_found_by_file():
    with pytest.raises(ConservationError) as error:
        check_conservation(FACTS, [COUNTS[0], COUNTS[2]], summary(9, 2))
    for word in ("a.parquet", "6 valid + 1 rejected = 7", "10, as the file's footer says"):
        assert word in str(error.value)


@pytest.mark.parametrize(("kept", "dropped"), [(11, 2), (13, 2)])
def test_rows_lost_or_doubled_after_reading_are_found(kept, dropped):
    with pytest.raises(ConservationError, match="14 valid rows read"):
        check_conservation(FACTS, COUNTS, summary(kept, dropped))


def test_a_run_without_usable_rows_says_why():
    facts = RunFacts({"a": 2}, Policy(), np.zeros((6, 256)), {})
    with pytest.raises(InputError, match=r"empty item_id \(2 rows\)"):
        check_conservation(facts, [SplitCounts("a", 0, {"empty item_id": 2}, 0.0)], None)


def test_summaries_add_up_and_keep_the_first_examples():
    first, second = summary(1, 2), summary(3, 4)
    first.examples.extend([((False, 5), {"user_id": "x"}), ((True, 0), {"user_id": "long"})])
    second.examples.extend([((False, n), {"user_id": str(n)}) for n in range(9)])
    merged = merge_summaries([first, second])
    assert (merged.kept, merged.dropped, merged.seconds) == (4, 6, {"score": 2.0})
    assert [example["user_id"] for _, example in merged.examples] == [*"01234", "x", *"5678"]
