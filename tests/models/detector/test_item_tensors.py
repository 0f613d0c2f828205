import dataclasses

import numpy as np
import pytest
import torch

from iadsr.models.core.item_vectors import ItemVectors
from iadsr.models.detector.batch import Batch, IndexedRows
from iadsr.models.detector.iadsr import IADSR, PAPER_READINGS, READINGS, READINGS_BY_FOLD
from iadsr.models.detector.item_tensors import ItemTensors
from iadsr.models.detector.model_config import HEADS, IADSRConfig

ITEMS, FOLDS, SIZE = 12, 3, 4
CONFIG = IADSRConfig(
    collaborative_dimension=SIZE, hidden_dimension=6, semantic_dimension=10, context_dimension=6, folds=FOLDS
)


def make_model(**changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return IADSR(dataclasses.replace(CONFIG, **changes)).eval()


def make_vectors(config=CONFIG):
    generator = np.random.default_rng(0)
    return ItemVectors(
        generator.normal(size=(ITEMS, config.collaborative_width)).astype(np.float32),
        generator.normal(size=(ITEMS, 10)).astype(np.float32),
        np.arange(ITEMS) % 3 > 0,
        np.arange(ITEMS) % 4 > 0,
    )


def test_a_batch_holds_the_vectors_of_its_items_and_folds():
    model, vectors = make_model(), make_vectors()
    rows = np.array([3, 1, 4, 2, 5])
    catalogue = ItemTensors.select(model, vectors, rows)
    items, mask = np.array([[0, 3], [4, 1]]), np.array([[True, True], [True, False]])
    batch = catalogue.batch(items, mask, np.array([2, 0]))
    by_slot = vectors.collaborative.reshape(ITEMS, 1 + 2 * FOLDS, SIZE)
    for b, t in ((0, 0), (0, 1), (1, 0)):
        row, fold = rows[items[b, t]], (2, 0)[b]
        assert batch.has_collaborative[b, t] == vectors.has_collaborative[row]
        assert batch.has_semantic[b, t] == vectors.has_semantic[row]
        assert batch.has_others[b, t].tolist() == [vectors.has_collaborative[row]] * 2
        if vectors.has_collaborative[row]:
            expected = by_slot[row] / np.linalg.norm(by_slot[row], axis=1, keepdims=True)
            np.testing.assert_allclose(batch.collaborative.gathered()[b, t], expected[0], rtol=1e-5)
            np.testing.assert_allclose(batch.others.gathered()[b, t], expected[1 + 2 * fold : 3 + 2 * fold], rtol=1e-5)
        if vectors.has_semantic[row]:
            np.testing.assert_allclose(batch.semantic.gathered()[b, t], vectors.semantic[row], rtol=1e-5)


@pytest.mark.parametrize("read", [False, True])
def test_what_is_absent_is_zero_whatever_its_row_holds(read):
    model = make_model()
    catalogue = ItemTensors.select(model, make_vectors(), np.arange(ITEMS))
    catalogue = catalogue.read(model) if read else catalogue
    items, mask = np.arange(ITEMS)[None], np.arange(ITEMS)[None] < 8
    batch = catalogue.batch(items, mask, np.array([1]))
    assert not batch.collaborative.gathered()[~batch.has_collaborative].any()
    assert not batch.others.gathered()[~batch.has_others].any()
    assert not batch.semantic.gathered()[~batch.has_semantic].any()
    for flag in (batch.has_collaborative, batch.has_semantic, batch.has_others.any(-1)):
        assert not flag[~batch.mask].any()
    assert all(not reading.gathered()[~batch.mask].any() for reading in batch.readings.values())


def test_only_the_pairs_that_are_wanted_are_read():
    model, vectors = make_model(), make_vectors()
    wanted = np.zeros((ITEMS, FOLDS), bool)
    wanted[[1, 4, 4, 7], [0, 1, 2, 0]] = True
    few = ItemTensors.select(model, vectors, np.arange(ITEMS), wanted).read(model)
    every = ItemTensors.select(model, vectors, np.arange(ITEMS)).read(model)
    assert len(few.others) == 5
    assert len(every.others) == ITEMS * FOLDS + 1
    items, mask, folds = np.array([[1, 7], [4, 0]]), np.array([[True, True], [True, False]]), np.array([0, 2])
    found, expected = few.batch(items, mask, folds), every.batch(items, mask, folds)
    for name, rows in (vars(found) | found.readings).items():
        if isinstance(rows, IndexedRows):
            torch.testing.assert_close(rows.gathered(), (vars(expected) | expected.readings)[name].gathered())
    assert torch.equal(found.has_others, expected.has_others)


@pytest.mark.parametrize("head", HEADS)
def test_a_model_scores_what_was_read_once_as_what_it_reads_itself(head):
    model = make_model(head=head)
    vectors = make_vectors(model.config)
    for chance in model.chances:
        chance.measure(torch.randn(20, len(chance.mean), generator=torch.Generator().manual_seed(1)), torch.ones(20))
    catalogue = ItemTensors.select(model, vectors, np.arange(ITEMS))
    items = np.random.default_rng(1).integers(0, ITEMS, (4, 6))
    mask = np.arange(6) < np.array([6, 2, 5, 3])[:, None]
    folds = np.array([0, 1, 2, 1]) if head == "agreement" else None
    with torch.no_grad():
        batch, read = catalogue.batch(items, mask, folds), catalogue.read(model).batch(items, mask, folds)
        assert isinstance(batch, Batch)
        assert not batch.readings
        for expected, found in zip(model(batch), model(read), strict=True):
            torch.testing.assert_close(found[read.mask], expected[batch.mask])
    of_items = (*READINGS, *READINGS_BY_FOLD) if head == "agreement" else PAPER_READINGS
    assert set(read.readings) <= set(of_items)


def test_an_empty_catalogue_can_be_read():
    model = make_model()
    catalogue = ItemTensors.select(model, make_vectors(), np.zeros(0, int)).read(model)
    batch = catalogue.batch(np.zeros((1, 2), int), np.zeros((1, 2), bool), np.array([0]))
    assert not batch.has_collaborative.any()
    assert not batch.others.gathered().any()
