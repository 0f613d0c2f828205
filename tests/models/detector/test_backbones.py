import pytest
import torch

from iadsr.models.detector.backbones import GRU4Rec, make_backbone
from iadsr.models.detector.batch import IndexedRows
from iadsr.models.detector.model_config import BACKBONES, IADSRConfig


@pytest.fixture(params=BACKBONES)
def backbone(request):
    torch.manual_seed(0)
    config = IADSRConfig(backbone=request.param, collaborative_dimension=8, hidden_dimension=12, max_length=20)
    return make_backbone(config).eval()


def full(batch, steps):
    return torch.ones(batch, steps, dtype=torch.bool)


def test_each_position_gets_an_interest(backbone):
    assert backbone(torch.randn(3, 7, 8), full(3, 7)).shape == (3, 7, 12)


def test_an_output_depends_on_the_past_and_itself_only(backbone):
    vectors = torch.randn(2, 9, 8)
    before = backbone(vectors, full(2, 9))
    for step in range(9):
        changed = vectors.clone()
        changed[:, step] += 1
        moved = (backbone(changed, full(2, 9)) - before).abs().amax(dim=(0, 2))  # [T]
        assert (moved[:step] < 1e-6).all()
        assert moved[step] > 1e-5


def test_padding_changes_nothing_and_comes_out_as_zeros(backbone):
    vectors = torch.randn(1, 5, 8)
    alone = backbone(vectors, full(1, 5))
    padded = torch.cat([vectors, torch.randn(1, 4, 8)], dim=1)
    mask = torch.arange(9)[None] < 5
    out = backbone(padded, mask)
    torch.testing.assert_close(out[:, :5], alone)
    assert (out[:, 5:] == 0).all()


def test_items_that_are_rows_of_a_table_are_read_as_if_they_stood_side_by_side(backbone):
    table, index = torch.cat([torch.randn(5, 8), torch.zeros(1, 8)]), torch.tensor([[4, 0, 0, 3], [2, 1, 5, 5]])
    mask = index < 5
    with torch.no_grad():
        found = backbone.read_rows(IndexedRows(backbone.read_item(table), index), mask)
        torch.testing.assert_close(found, backbone(table[index], mask))
    assert (found[1, 2:] == 0).all()


def test_the_past_reaches_as_far_as_the_design_says(backbone):
    vectors = torch.randn(1, 12, 8)
    before = backbone(vectors, full(1, 12))
    vectors[:, 0] += 1
    moved = (backbone(vectors, full(1, 12)) - before).abs().amax(dim=(0, 2)) > 1e-7
    # Caser sees a window of five, the others everything.
    assert moved.tolist() == [True] * 5 + [type(backbone).__name__ != "Caser"] * 7


def test_a_backbone_runs_at_its_maximum_length_and_at_one(backbone):
    for steps in (1, 20):
        assert torch.isfinite(backbone(torch.randn(2, steps, 8), full(2, steps))).all()


def test_an_unknown_backbone_is_named():
    with pytest.raises(ValueError, match="bert4rec"):
        make_backbone(IADSRConfig(backbone="bert4rec"))  # pyright: ignore[reportArgumentType]


def test_the_gradients_of_the_gru_are_those_of_torch():
    torch.manual_seed(1)
    module = make_backbone(IADSRConfig(collaborative_dimension=8, hidden_dimension=12)).eval()
    assert isinstance(module, GRU4Rec)
    vectors, mask = (
        torch.randn(5, 11, 8, requires_grad=True),
        torch.arange(11) < torch.tensor([[11], [4], [1], [0], [9]]),
    )
    weight, wanted = torch.randn(5, 11, 12), (vectors, *module.parameters())
    ours, plain = module(vectors, mask), module.gru(vectors)[0] * mask[..., None]
    torch.testing.assert_close(ours, plain)
    for found, expected in zip(
        torch.autograd.grad((ours * weight).sum(), wanted),
        torch.autograd.grad((plain * weight).sum(), wanted),
        strict=True,
    ):
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
