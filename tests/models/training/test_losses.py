import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from iadsr.models.training.losses import ROWS_AT_ONCE, hard_gumbel_sigmoid, info_nce, sampled_softmax


def test_info_nce_of_orthogonal_pairs_has_a_closed_form():
    pairs = torch.eye(4) * 3
    expected = math.log(1 + 3 * math.exp(-1 / 0.5))
    assert info_nce(pairs, pairs, 0.5).item() == pytest.approx(expected, rel=1e-5)


def test_info_nce_does_not_contrast_rows_of_one_group():
    left = torch.eye(4)
    right = left[[0, 1, 2, 3]]
    alone = info_nce(left[:1].repeat(2, 1), right[:1].repeat(2, 1), 0.5, torch.tensor([7, 7]))
    assert alone.item() == pytest.approx(0.0, abs=1e-6)
    assert info_nce(left, right, 0.5, torch.tensor([1, 1, 2, 3])) < info_nce(left, right, 0.5)


def test_info_nce_of_a_single_pair_is_zero():
    assert info_nce(torch.ones(1, 3), torch.ones(1, 3), 0.1).item() == 0


def test_sampled_softmax_is_cross_entropy_over_target_and_negatives():
    torch.manual_seed(0)
    context, targets, negatives = torch.randn(3, 5), torch.randn(3, 5), torch.randn(4, 5)
    target_items, negative_items = torch.tensor([0, 1, 2]), torch.tensor([5, 1, 7, 8])
    rows = []
    for i in range(3):
        others = [j for j in range(4) if negative_items[j] != target_items[i]]
        candidates = torch.stack([targets[i], *negatives[others]])
        rows.append(-F.log_softmax(F.cosine_similarity(context[i : i + 1], candidates) / 0.2, dim=0)[0])
    found = sampled_softmax(context, targets, negatives, target_items, negative_items, 0.2)
    torch.testing.assert_close(found, torch.stack(rows).mean())


def test_sampled_softmax_of_nothing_to_predict_is_zero():
    context = torch.zeros(0, 5, requires_grad=True)
    nothing = torch.zeros(0, dtype=torch.long)
    loss = sampled_softmax(context, torch.zeros(0, 5), torch.randn(4, 5), nothing, torch.arange(4), 0.2)
    loss.backward()
    assert loss.item() == 0


@pytest.mark.parametrize("logit", [-2.0, 0.0, 1.0])
def test_gumbel_mask_keeps_with_the_probability_of_its_logit(logit):
    generator = np.random.default_rng(0)
    kept = hard_gumbel_sigmoid(torch.full((40_000,), logit), torch.from_numpy(generator.random(40_000, np.float32)))
    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert kept.mean().item() == pytest.approx(1 / (1 + math.exp(-logit)), abs=0.01)


def test_gumbel_mask_lets_gradients_through():
    logits = torch.zeros(10, requires_grad=True)
    hard_gumbel_sigmoid(logits, torch.linspace(0, 1, 10)).sum().backward()
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def plain_softmax(context, targets, negatives, target_items, negative_items):
    """The same loss by torch's own operations, of unit vectors over a temperature of 0.1."""
    others = (context @ negatives.T).masked_fill(target_items[:, None] == negative_items, float("-inf"))
    logits = torch.cat([(context * targets).sum(1, keepdim=True), others], 1) / 0.1
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def plain_info_nce(left, right, groups):
    same = (groups[:, None] == groups) & ~torch.eye(len(left), dtype=torch.bool)
    logits = (left @ right.T / 0.1).masked_fill(same, float("-inf"))
    target = torch.arange(len(left))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


@pytest.mark.parametrize("rows", [1, ROWS_AT_ONCE - 1, ROWS_AT_ONCE, 3 * ROWS_AT_ONCE + 5])
def test_the_gradients_of_both_losses_are_those_of_torch(rows):
    generator = torch.Generator().manual_seed(rows)

    def vectors(number):
        return torch.randn(number, 6, generator=generator).requires_grad_()

    parts, items = [vectors(rows), vectors(rows), vectors(40)], torch.randint(0, 9, (rows + 40,), generator=generator)
    ours = sampled_softmax(*parts, items[:rows], items[rows:], 0.1)
    plain = plain_softmax(*(F.normalize(part, dim=-1) for part in parts), items[:rows], items[rows:])
    torch.testing.assert_close(ours, plain)
    pairs, groups = parts[:2], items[:rows]
    losses = [(ours, plain, parts)]
    if rows > 1:
        both = info_nce(*pairs, 0.1, groups), plain_info_nce(*(F.normalize(part, dim=-1) for part in pairs), groups)
        torch.testing.assert_close(*both)
        losses.append((*both, pairs))
    for one, other, of in losses:
        for found, expected in zip(torch.autograd.grad(3 * one, of), torch.autograd.grad(3 * other, of), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
