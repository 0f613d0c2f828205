from hypothesis import given
from hypothesis import strategies as st

from iadsr.transforms.contract.row_shares import share_of


@given(st.integers(1, 10**7), st.integers(0, 10_000))
def test_a_share_in_hundredths_of_a_percent_is_the_whole_number_that_it_stands_for(rows, parts):
    assert int(share_of(rows, parts / 10_000)) == rows * parts // 10_000


def test_29_percent_of_100_rows_are_29():
    assert 0.29 * 100 < 29 <= share_of(100, 0.29) < 30
