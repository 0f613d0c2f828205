import dataclasses

import numpy as np
import pytest
import torch

from iadsr.models.core.item_vectors import PackedItemVectors, packed_width
from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.batch import Batch, IndexedRows
from iadsr.models.detector.batch_builder import BatchBuilder
from iadsr.models.detector.context import Context, read_both_sides
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.item_tensors import ItemTensors
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.training.checkpoints import Checkpoint
from iadsr.models.training.fit_context import fit_context
from iadsr.models.training.training_config import TrainingConfig

CONFIG = IADSRConfig(
    collaborative_dimension=8, hidden_dimension=8, semantic_dimension=10, folds=2, head_dimension=8, max_length=12
)


def make(seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Context(CONFIG, 10).eval()


def make_batch(lengths, steps, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps)[None] < torch.tensor(lengths)[:, None]
    shape = len(lengths), steps
    vectors = (IndexedRows.of(torch.randn(*shape, size, generator=generator)) for size in (8, 8, 8, 10, 16))
    everything = torch.ones(shape, dtype=torch.bool)
    batch = Batch(*vectors, torch.zeros(shape), mask, *[everything] * 5)
    return batch.hide(~mask, ~mask)


@pytest.mark.parametrize("changed", range(5))
def test_what_leads_to_an_item_has_read_everything_but_the_item(changed):
    context, batch = make(), make_batch([5], 5)
    semantic = batch.semantic.gathered()
    semantic[0, changed] += 3
    other = dataclasses.replace(batch, semantic=IndexedRows.of(semantic))
    with torch.no_grad():
        first, second = context(batch)[1:], context(other)[1:]
    for before, after in zip(first, second, strict=True):
        moved = (before - after).abs().amax(-1)[0] > 1e-5
        assert moved.tolist() == [step != changed for step in range(5)]


@pytest.mark.parametrize("length", [1, 2, 4])
def test_padding_changes_nothing(pad, length):
    context, alone = make(), make_batch([length], length)
    padded = pad(alone, 9)
    with torch.no_grad():
        for expected, found in zip(context.agreement(alone), context.agreement(padded), strict=True):
            torch.testing.assert_close(expected, found[:, :length])


def test_a_single_item_agrees_with_nothing():
    values, known = make().agreement(make_batch([1, 3], 3))
    assert known[..., 0].tolist() == [[False] * 3, [True] * 3]
    assert (values[0] == 0).all()


def test_what_reads_both_sides_has_the_gradient_that_it_should():
    generator = torch.Generator().manual_seed(0)
    sides = torch.rand(2, 5, 2, 6, generator=generator, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(read_both_sides, (sides,))
    states = read_both_sides(sides)
    keep, add = sides.unbind(-2)
    expected = torch.zeros(2, 5, 6, dtype=torch.double)
    for t in range(1, 5):
        expected[:, t, :3] = keep[:, t - 1, :3] * expected[:, t - 1, :3] + add[:, t - 1, :3]
    for t in range(3, -1, -1):
        expected[:, t, 3:] = keep[:, t + 1, 3:] * expected[:, t + 1, 3:] + add[:, t + 1, 3:]
    torch.testing.assert_close(states, expected)


def test_training_tells_items_of_the_users_cluster_from_others():
    generator = np.random.default_rng(0)
    cluster = generator.integers(0, 4, 300)
    sequences = Sequences.from_lengths(
        (cluster[:, None] * 10 + generator.integers(0, 10, (300, 6))).ravel(), np.full(300, 6)
    )
    packed = PackedItemVectors(
        generator.normal(size=(40, packed_width(8, 2))).astype(np.float32),
        (np.eye(10)[np.arange(40) // 10] + 0.3 * generator.normal(size=(40, 10))).astype(np.float32),
        np.ones(40, bool),
        np.ones(40, bool),
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IADSR(CONFIG)
        item_tensors = ItemTensors.select(model, packed.unpack(8), np.arange(40))
        seen = []
        users = np.arange(300) < 250
        training = TrainingConfig(context_epochs=8, context_negatives=64, batch_positions=64)
        fit = fit_context(
            model,
            sequences,
            item_tensors,
            users,
            ~users,
            training,
            np.random.SeedSequence(0),
            lambda *at: seen.append(at),
            Checkpoint(None, "context"),
        )
    assert fit.epochs >= 2
    assert seen[-1][2]["held_out_loss"] >= fit.held_out_loss
    builder = BatchBuilder(model.eval(), sequences, item_tensors)
    strayed = sequences.items[250 * 6 :].reshape(50, 6).copy()
    strayed[:, 2] = (strayed[:, 2] + 10) % 40  # an item of the next cluster
    with torch.no_grad():
        batch = item_tensors.batch(strayed, np.ones((50, 6), bool), sequences.folds(2)[250:])
        values, _ = model.context.agreement(batch)
    assert len(builder.windows) == 300
    agreement = values.mean(-1)
    assert (agreement[:, 2] < agreement[:, [0, 1, 3, 4, 5]].mean(1)).float().mean() > 0.9
