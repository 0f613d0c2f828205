import dataclasses

import numpy as np
import pytest
import torch

from iadsr.models.core.item_vectors import ItemVectors, PackedItemVectors, packed_width
from iadsr.models.detector.batch import Batch, IndexedRows
from iadsr.models.detector.iadsr import IADSR
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


def make_vectors(folds=FOLDS) -> ItemVectors:
    generator = np.random.default_rng(0)
    return PackedItemVectors(
        generator.normal(size=(ITEMS, packed_width(SIZE, folds))).astype(np.float32),
        generator.normal(size=(ITEMS, 10)).astype(np.float32),
        np.arange(ITEMS) % 3 > 0,
        np.arange(ITEMS) % 4 > 0,
    ).unpack(SIZE)


def tables_of(batch):
    """All rows of a batch and its projections, by name, gathered."""
    found = {name: rows.gathered() for name, rows in vars(batch).items() if isinstance(rows, IndexedRows)}
    of = (
        (batch.interest_projections, batch.collaborative),
        (batch.text_projections, batch.semantic),
        (batch.fold_projections, batch.co_occurrence),
    )
    for projections, rows in of:
        for name, table in vars(projections).items() if projections else ():
            found[f"{type(projections).__name__}.{name}"] = rows.in_table(table).gathered()
    return found


def test_a_batch_holds_the_vectors_of_its_items_and_folds():
    model, vectors = make_model(), make_vectors()
    rows = np.array([3, 1, 4, 2, 5])
    item_tensors = ItemTensors.select(model, vectors, rows)
    items, mask = np.array([[0, 3], [4, 1]]), np.array([[True, True], [True, False]])
    batch = item_tensors.batch(items, mask, np.array([2, 0]))
    for b, t in ((0, 0), (0, 1), (1, 0)):
        row, fold = rows[items[b, t]], (2, 0)[b]
        assert batch.has_collaborative[b, t] == vectors.has_collaborative[row]
        assert batch.has_semantic[b, t] == vectors.has_semantic[row]
        assert batch.has_co_occurrence[b, t] == batch.has_company[b, t] == vectors.has_collaborative[row]
        if vectors.has_collaborative[row]:
            for found, expected in (
                (batch.collaborative, vectors.collaborative[row]),
                (batch.co_occurrence, vectors.co_occurrence[row, fold]),
                (batch.company, vectors.company[row, fold]),
            ):
                np.testing.assert_allclose(found.gathered()[b, t], expected / np.linalg.norm(expected), rtol=1e-5)
            np.testing.assert_array_equal(batch.lives.gathered()[b, t], vectors.lives[row, fold])
        if vectors.has_semantic[row]:
            np.testing.assert_allclose(batch.semantic.gathered()[b, t], vectors.semantic[row], rtol=1e-5)


@pytest.mark.parametrize("projected", [False, True])
def test_what_is_absent_is_zero_whatever_its_row_holds(projected):
    model = make_model()
    item_tensors = ItemTensors.select(model, make_vectors(), np.arange(ITEMS))
    item_tensors = item_tensors.project(model) if projected else item_tensors
    items, mask = np.arange(ITEMS)[None], np.arange(ITEMS)[None] < 8
    batch = item_tensors.batch(items, mask, np.array([1]))
    assert not batch.collaborative.gathered()[~batch.has_collaborative].any()
    assert not batch.co_occurrence.gathered()[~batch.has_co_occurrence].any()
    assert not batch.company.gathered()[~batch.has_company].any()
    assert not batch.semantic.gathered()[~batch.has_semantic].any()
    assert not batch.lives.gathered()[~batch.has_life].any()
    others = (batch.has_co_occurrence, batch.has_company, batch.has_life)
    for flag in (batch.has_collaborative, batch.has_semantic, *others):
        assert not flag[~batch.mask].any()
    tables = tables_of(batch)
    assert len(tables) == (5 + 3 + 3 + 4 if projected else 5)
    assert all(not rows[~batch.mask].any() for rows in tables.values())


def test_only_the_pairs_that_are_wanted_are_read():
    model, vectors = make_model(), make_vectors()
    wanted = np.zeros((ITEMS, FOLDS), bool)
    wanted[[1, 4, 4, 7], [0, 1, 2, 0]] = True
    few = ItemTensors.select(model, vectors, np.arange(ITEMS), wanted).project(model)
    every = ItemTensors.select(model, vectors, np.arange(ITEMS)).project(model)
    assert len(few.co_occurrence) == len(few.company) == 5
    assert len(every.co_occurrence) == len(every.company) == ITEMS * FOLDS + 1
    items, mask, folds = np.array([[1, 7], [4, 0]]), np.array([[True, True], [True, False]]), np.array([0, 2])
    found, expected = few.batch(items, mask, folds), every.batch(items, mask, folds)
    for name, rows in tables_of(found).items():
        torch.testing.assert_close(rows, tables_of(expected)[name])
    assert torch.equal(found.has_co_occurrence, expected.has_co_occurrence)
    assert torch.equal(found.has_company, expected.has_company)


@pytest.mark.parametrize("head", HEADS)
def test_a_model_scores_projected_items_as_it_scores_items_that_it_projects_itself(head):
    model = make_model(head=head)
    vectors = make_vectors(FOLDS if head == "agreement" else 0)
    for chance in model.chances:
        chance.measure(torch.randn(20, len(chance.mean), generator=torch.Generator().manual_seed(1)), torch.ones(20))
    item_tensors = ItemTensors.select(model, vectors, np.arange(ITEMS))
    items = np.random.default_rng(1).integers(0, ITEMS, (4, 6))
    mask = np.arange(6) < np.array([6, 2, 5, 3])[:, None]
    folds = np.array([0, 1, 2, 1]) if head == "agreement" else None
    with torch.no_grad():
        batch = item_tensors.batch(items, mask, folds)
        projected = item_tensors.project(model).batch(items, mask, folds)
        assert isinstance(batch, Batch)
        assert batch.interest_projections is batch.text_projections is batch.fold_projections is None
        for expected, found in zip(model(batch), model(projected), strict=True):
            torch.testing.assert_close(found[projected.mask], expected[batch.mask])
    # The paper's head needs no more than the interests.
    assert projected.interest_projections is not None
    for projections in (projected.text_projections, projected.fold_projections):
        assert (projections is not None) == (head == "agreement")


def test_no_items_can_be_projected():
    model = make_model()
    item_tensors = ItemTensors.select(model, make_vectors(), np.zeros(0, int)).project(model)
    batch = item_tensors.batch(np.zeros((1, 2), int), np.zeros((1, 2), bool), np.array([0]))
    assert not batch.has_collaborative.any()
    assert not batch.co_occurrence.gathered().any()
    assert not batch.company.gathered().any()
