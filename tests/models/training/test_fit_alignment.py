import numpy as np
import pytest
import torch

from iadsr.models.core.item_vectors import LIFE_BINS, ItemVectors
from iadsr.models.detector.dropout import Dropout
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.item_tensors import ItemTensors
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.training import batch_parts
from iadsr.models.training.batch_parts import BatchParts
from iadsr.models.training.fit_alignment import _learn, _Positions

ITEMS = 30
CONFIG = IADSRConfig(
    collaborative_dimension=8, hidden_dimension=12, head_dimension=8, semantic_dimension=10, max_length=9
)


def unit(generator, size):
    vectors = generator.normal(size=(ITEMS, size)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def learn(parts, windows, text_share, monkeypatch):
    """Returns the loss of a batch without dropout, and the gradients."""
    monkeypatch.setattr(batch_parts, "PARTS", parts)
    torch.manual_seed(0)
    model, generator = IADSR(CONFIG), np.random.default_rng(0)
    nothing, timeless = np.zeros((ITEMS, 0, 8), np.float32), np.zeros((ITEMS, 0, LIFE_BINS), np.float32)
    has_text = generator.random(ITEMS) < text_share
    known = np.ones(ITEMS, bool)
    vectors = ItemVectors(unit(generator, 8), nothing, nothing, timeless, unit(generator, 10), known, has_text)
    items = ItemTensors.select(model, vectors, np.arange(ITEMS))
    mask = np.arange(9) < np.sort(generator.integers(1, 10, windows))[:, None]
    batch = _Positions(
        generator.integers(0, ITEMS, mask.shape).astype(np.int32) * mask,
        mask,
        mask & (generator.random(mask.shape) < 0.5),
        generator.random(mask.shape, np.float32),
    )
    with BatchParts(model, 2, np.random.SeedSequence(0)) as of:
        of.train()
        for part in of.modules:
            for module in part.modules():
                if isinstance(module, Dropout):
                    module.share = 0.0
        loss = _learn(of, items, batch, generator.integers(0, ITEMS, 6), 0.1)
    return loss, {name: own.grad for name, own in model.named_parameters() if own.grad is not None}


@pytest.mark.parametrize(("windows", "text_share"), [(1, 1.0), (2, 1.0), (7, 0.8), (7, 0.0)])
def test_a_batch_in_parts_has_the_loss_and_the_gradients_of_the_whole(windows, text_share, monkeypatch):
    whole, gradients = learn(1, windows, text_share, monkeypatch)
    for parts in (2, 3):
        loss, added = learn(parts, windows, text_share, monkeypatch)
        assert loss == pytest.approx(whole, rel=1e-5)
        assert added.keys() == gradients.keys()
        for name, gradient in gradients.items():
            torch.testing.assert_close(added[name], gradient, rtol=1e-3, atol=1e-5)


def test_every_part_of_the_loss_has_gradients(monkeypatch):
    _, gradients = learn(2, 7, 0.8, monkeypatch)
    parts = {name.split(".")[0] for name, gradient in gradients.items() if gradient.abs().sum()}
    assert parts == {"backbone", "predict", "short_semantic", "long_semantic", "decode"}
