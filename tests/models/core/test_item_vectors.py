import subprocess
import sys

import numpy as np
import pytest

from iadsr.models.core.item_vectors import LIFE_BINS, ItemVectors, PackedItemVectors, packed_width

ITEMS, FOLDS, SIZE = 4, 3, 2


def make_vectors(folds=FOLDS) -> ItemVectors:
    """Every number says what it is: 1 or 2 and 3, then item, fold and place."""
    item, fold, place = np.ogrid[:ITEMS, :folds, :SIZE]
    number = (100 * item + 10 * fold + place).astype(np.float32)
    return ItemVectors(
        collaborative=(1000 + 100 * item + place).astype(np.float32)[:, 0],
        co_occurrence=2000 + number,
        company=3000 + number,
        lives=np.repeat(4000 + number[..., :1], LIFE_BINS, axis=2),
        semantic=np.arange(ITEMS * 5, dtype=np.float16).reshape(ITEMS, 5),
        has_collaborative=np.array([True, False, True, True]),
        has_semantic=np.array([False, True, True, True]),
    )


def test_a_packed_row_holds_the_items_own_vector_and_then_both_kinds_and_the_life_of_each_fold():
    packed = make_vectors().pack()
    assert packed.collaborative.dtype == np.float32
    assert packed.collaborative.flags.c_contiguous
    assert packed.collaborative[1].tolist() == [
        *(1100, 1101),
        *(2100, 2101, 3100, 3101),
        *(2110, 2111, 3110, 3111),
        *(2120, 2121, 3120, 3121),
        *[4100] * LIFE_BINS,
        *[4110] * LIFE_BINS,
        *[4120] * LIFE_BINS,
    ]


@pytest.mark.parametrize("folds", [0, 1, FOLDS])
def test_unpacked_they_are_what_was_packed(folds):
    vectors = make_vectors(folds)
    assert vectors.pack().collaborative.shape == (ITEMS, packed_width(SIZE, folds))
    unpacked = vectors.pack().unpack(SIZE)
    assert unpacked.co_occurrence.shape == unpacked.company.shape == (ITEMS, folds, SIZE)
    for name, expected in vars(vectors).items():
        assert np.array_equal(getattr(unpacked, name), expected), name
    assert unpacked.semantic is vectors.semantic


def test_no_items_can_be_packed_and_unpacked():
    width = packed_width(SIZE, FOLDS)
    none, flags = np.zeros((0, width), np.float32), np.zeros(0, bool)
    unpacked = PackedItemVectors(none, none, flags, flags).unpack(SIZE)
    assert unpacked.co_occurrence.shape == (0, FOLDS, SIZE)
    assert unpacked.pack().collaborative.shape == (0, width)


def test_unpacking_copies_nothing_and_reads_nothing_of_a_memory_mapped_file(tmp_path):
    np.save(tmp_path / "rows.npy", make_vectors().pack().collaborative)
    rows = np.load(tmp_path / "rows.npy", mmap_mode="r")
    flags = np.ones(ITEMS, bool)
    unpacked = PackedItemVectors(rows, np.zeros((ITEMS, 1)), flags, flags).unpack(SIZE)
    for part in (unpacked.collaborative, unpacked.co_occurrence, unpacked.company, unpacked.lives):
        assert isinstance(part, np.memmap)
        assert np.shares_memory(part, rows)


@pytest.mark.parametrize("width", [SIZE * 2, SIZE * 4, SIZE * 3 + 1, 0])
def test_rows_that_cannot_be_unpacked_are_refused(width):
    rows, flags = np.zeros((ITEMS, width), np.float32), np.ones(ITEMS, bool)
    with pytest.raises(ValueError, match=f"found {width} numbers"):
        PackedItemVectors(rows, rows, flags, flags).unpack(SIZE)


def test_item_vectors_are_joined_without_torch():
    code = "import sys, iadsr.models.core.item_vectors; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]
