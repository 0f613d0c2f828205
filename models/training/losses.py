"""The losses of both stages."""

import torch
from torch import Tensor
from torch.nn import functional as F


def info_nce(left: Tensor, right: Tensor, temperature: float, groups: Tensor | None = None) -> Tensor:
    """Symmetric InfoNCE between paired rows: each row must find its partner among all (paper section 4.2).

    Args:
        left: Vectors of one modality, [n, h].
        right: Their partners in the other, [n, h].
        temperature: Divides the cosines.
        groups: int [n]; rows of the same group are no negatives of one another. Two positions that hold the same
            item have the same text, so that nothing can tell them apart.

    Returns:
        The mean loss, a scalar; 0 when there are fewer than two rows.
    """
    if len(left) < 2:
        return left.sum() * 0
    logits = F.normalize(left, dim=-1) @ F.normalize(right, dim=-1).T / temperature  # [n, n]
    target = torch.arange(len(left))
    if groups is not None:
        same = (groups[:, None] == groups) & ~torch.eye(len(left), dtype=torch.bool)
        logits = logits.masked_fill(same, float("-inf"))
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def sampled_softmax(
    context: Tensor,
    targets: Tensor,
    negatives: Tensor,
    target_items: Tensor,
    negative_items: Tensor,
    temperature: float,
) -> Tensor:
    """Cross-entropy of the next item against negatives shared by all positions, on cosines.

    With negatives drawn in proportion to popularity and no correction for it, the optimal logit is the pointwise
    mutual information of context and item (Levy and Goldberg, 2014): how much more often they meet than by
    chance, with popularity divided out. That is what a noise detector needs to know. The usual correction ranks by
    plain probability, and would call every popular item a good fit.

    Args:
        context: Predictions, [n, d].
        targets: Vectors of the true next items, [n, d].
        negatives: Vectors of the negative items, [m, d].
        target_items: int [n]; a negative that happens to be the target is ignored.
        negative_items: int [m].
        temperature: Divides the cosines.

    Returns:
        The mean loss, a scalar; 0 when there is nothing to predict.
    """
    if len(context) == 0:  # all users of the batch have one interaction; the mean over nothing would be NaN
        return context.sum() * 0
    context = F.normalize(context, dim=-1)
    positive = (context * F.normalize(targets, dim=-1)).sum(-1, keepdim=True)  # [n, 1]
    others = context @ F.normalize(negatives, dim=-1).T  # [n, m]
    others = others.masked_fill(target_items[:, None] == negative_items, float("-inf"))
    logits = torch.cat([positive, others], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(logits), dtype=torch.long))


def hard_gumbel_sigmoid(logits: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draws 0 or 1, with P(1) = sigmoid(logit) exactly; gradients pass through (straight-through).

    The difference of two Gumbel variables is logistic. The published code adds only one of them, which gives
    P(1) = 1 - exp(-exp(logit)) instead.

    Args:
        logits: Any shape.
        generator: Source of the noise.
    """
    uniform = torch.rand(logits.shape, generator=generator).clamp(1e-6, 1 - 1e-6)
    soft = torch.sigmoid(logits + torch.log(uniform) - torch.log1p(-uniform))
    return (soft > 0.5).to(soft) + (soft - soft.detach())  # the bracket is exactly 0
