import torch

from iadsr.models.detector.batch import Batch, IndexedRows


def test_what_is_hidden_is_absent_and_zero():
    everything = torch.ones(1, 3, dtype=torch.bool)
    vectors = (IndexedRows.of(torch.rand(1, 3, size)) for size in (4, 4, 4, 5, 6))
    has_company = torch.tensor([[False, True, True]])
    present = everything, everything, has_company, everything, everything
    batch = Batch(*vectors, torch.full((1, 3), 0.5), everything, *present)
    hidden = batch.hide(torch.tensor([[False, True, False]]), torch.tensor([[False, False, True]]))
    assert hidden.has_life.tolist() == [[True, False, True]]
    assert torch.equal(hidden.moments, batch.moments)
    timeless = batch.hide(~everything, ~everything, torch.tensor([[True, False, False]]))
    assert timeless.moments.isnan().tolist() == [[True, False, False]]
    assert timeless.has_life.all()
    assert hidden.has_collaborative.tolist() == [[True, False, True]]
    assert hidden.has_co_occurrence.tolist() == [[True, False, True]]
    assert hidden.has_company.tolist() == [[False, False, True]]
    assert hidden.has_semantic.tolist() == [[True, True, False]]
    for rows, before, present in (
        (hidden.collaborative, batch.collaborative, hidden.has_collaborative[..., None]),
        (hidden.co_occurrence, batch.co_occurrence, hidden.has_collaborative[..., None]),
        (hidden.company, batch.company, hidden.has_collaborative[..., None]),
        (hidden.semantic, batch.semantic, hidden.has_semantic[..., None]),
    ):
        assert torch.equal(rows.gathered(), before.gathered() * present)
    assert torch.equal(hidden.mask, batch.mask)
