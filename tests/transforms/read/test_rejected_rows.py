from collections import Counter

import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.core.reasons import rejection_code
from iadsr.transforms.read.rejected_rows import list_reasons, refuse_too_many


def test_as_many_as_the_share_allows_pass_and_one_more_is_refused():
    refuse_too_many(Counter({"null timestamp": 29}), 100, 0.29)
    with pytest.raises(InputError) as error:
        refuse_too_many(Counter({"null timestamp": 20, "null item_id": 10}), 100, 0.29)
    assert error.value.code == "ROWS-REJECTED"
    assert error.value.found == "30 of 100 rows (30.0%): null timestamp (20 rows), null item_id (10 rows)"


def test_a_log_of_which_no_row_is_left_is_not_refused_here():
    refuse_too_many(Counter({"null timestamp": 100}), 100, 0.0)


def test_rows_that_the_user_asked_to_reject_count_neither_as_rejected_nor_as_rows():
    asked = {rejection_code("excluded {column}", "user_id"): 90}
    refuse_too_many(Counter({**asked, "null timestamp": 1}), 100, 0.1)
    with pytest.raises(InputError, match=r"2 of 10 rows \(20.0%\)"):
        refuse_too_many(Counter({**asked, "null timestamp": 2}), 100, 0.1)


def test_reasons_are_listed_with_the_most_frequent_first():
    assert list_reasons(Counter({"a": 1, "b": 2_000})) == "b (2,000 rows), a (1 row)"
