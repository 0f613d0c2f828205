import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.write.lookalike_users import SAMPLE, id_forms, plain_form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("123", "123.0"),
        ("123", "00123"),
        ("-7", "-007.00"),
        ("Ann", "ann"),
        (" ann", "ann"),
        ("caf\u00e9", "cafe\u0301"),
        ("\uff11\uff12", "12"),
        ("0", "000"),
    ],
)
def test_two_spellings_of_one_id_have_one_form(one, other):
    forms = plain_form(pa.array([one, other])).to_pylist()
    assert forms[0] == forms[1]


@pytest.mark.parametrize(
    ("one", "other"), [("123", "1230"), ("12.5", "125"), ("a01", "a1"), ("1.0.0", "1"), ("0x10", "x10"), ("1-0", "10")]
)
def test_different_ids_have_different_forms(one, other):
    assert len(set(plain_form(pa.array([one, other])).to_pylist())) == 2


def test_spellings_in_different_shards_are_counted_once_all_are_added_up():
    parts = [id_forms(pa.array(ids)) for ids in (["123", "ann", "x"], ["123.0", "Ann", "ANN"], ["y"])]
    assert [part.lookalikes(3) for part in parts] == [0, 2, 0]
    assert (parts[0] + parts[1] + parts[2]).lookalikes(7) == 5
    assert (parts[2] + (parts[1] + parts[0])).lookalikes(7) == 5


def test_integers_have_one_spelling():
    assert id_forms(pa.array([1, 2])).lookalikes(2) == 0


def test_of_many_users_a_sample_tells():
    ids = [f"u{number}" for number in range(30_000)]
    whole = id_forms(pa.array(ids + [name.upper() for name in ids[:3000]]))
    assert len(whole.hashes) == SAMPLE
    assert whole.lookalikes(33_000) == pytest.approx(6000, rel=0.1)
    halves = id_forms(pa.array(ids[:15_000])) + id_forms(pa.array(ids[15_000:] + [name.upper() for name in ids[:3000]]))
    assert np.array_equal(halves.hashes, whole.hashes)
    assert np.array_equal(halves.spellings, whole.spellings)
