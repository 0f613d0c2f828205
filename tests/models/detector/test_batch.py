import torch

from iadsr.models.detector.batch import Batch, IndexedRows


def test_what_is_hidden_is_absent_and_zero():
    everything = torch.ones(1, 3, 2, dtype=torch.bool)
    others_known = everything.clone()
    others_known[0, 0, 1] = False
    one = everything[..., 0]
    vectors = (IndexedRows.of(torch.rand(1, 3, *shape)) for shape in ((4,), (2, 4), (5,)))
    batch = Batch(*vectors, one, one, others_known, one)
    hidden = batch.hide(torch.tensor([[False, True, False]]), torch.tensor([[False, False, True]]))
    assert hidden.has_collaborative.tolist() == [[True, False, True]]
    assert hidden.has_others.tolist() == [[[True, False], [False, False], [True, True]]]
    assert hidden.has_semantic.tolist() == [[True, True, False]]
    for rows, before, present in (
        (hidden.collaborative, batch.collaborative, hidden.has_collaborative[..., None]),
        (hidden.others, batch.others, hidden.has_collaborative[..., None, None]),
        (hidden.semantic, batch.semantic, hidden.has_semantic[..., None]),
    ):
        assert torch.equal(rows.gathered(), before.gathered() * present)
    assert torch.equal(hidden.mask, batch.mask)
