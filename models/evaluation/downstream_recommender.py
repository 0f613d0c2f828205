"""The recommender that measures what cleaning a log is worth.

It is a sequential recommender, trained as it would be in production. `comparison.py` trains one on each version of a
log. It shares its backbones with the detector, and nothing else: a change of the detector must not change the
recommender that measures it.
"""

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.sequences import Sequences
from ..core.windows import Windows, batches
from ..detector.backbones import make_backbone
from ..detector.dropout import seed_dropout
from ..detector.model_config import BackboneName, IADSRConfig
from ..training.early_stopping import EarlyStopping
from ..training.epochs import falling_rate
from .ranking import METRICS, measure_ranks, rank_targets

STEPS_PER_EPOCH = 50
"""Minimum number of steps in an epoch. On a small log, batches are made smaller to get that many."""

MIN_BATCH_POSITIONS = 256
"""Batches are not made smaller than this."""

_DRAWING = threading.Lock()

STOPPING_METRIC = METRICS.index("NDCG@10")
"""Column of the metric that decides which epoch is kept."""


@dataclass(frozen=True)
class DownstreamConfig:
    """How the recommender is built and trained."""

    recommender: BackboneName = "sasrec"
    """Its backbone."""
    dimension: int = 64
    """d, the length of item vectors and of the backbone's output."""
    dropout: float = 0.4
    """Share of units that are dropped in training."""
    max_length: int = 50
    """Maximum length of a history. Only this many last interactions are read."""
    learning_rate: float = 2e-3
    """Adam's learning rate in the first epoch. It falls from epoch to epoch, towards zero at the end, so that trainings
    with different seeds end with similar results."""
    temperature: float = 0.07
    """The cosines between histories and items are divided by this."""
    negatives: int = 512
    """Number of negative items per batch. They are drawn uniformly, and all positions of the batch use the same."""
    batch_positions: int = 1024
    """Maximum number of positions in a batch, including padding. It is lower for small logs, see STEPS_PER_EPOCH."""
    epochs: int = 20
    """Number of epochs. The one with the best NDCG@10 on the validation items is kept."""


@dataclass(frozen=True)
class NextItemTask:
    """The task of predicting the next item of each of U users."""

    histories: Sequences
    """What the prediction is based on, one sequence per user."""
    targets: npt.NDArray[np.integer]
    """int [U], the item that came next."""
    seen: Sequences | None
    """Items that each user already has and must not be recommended. If None, everything may be recommended again."""


class NextItemModel(nn.Module):
    """A backbone that reads unit item vectors and predicts the next one. Input and output share the vectors (tied)."""

    def __init__(self, items: int, config: DownstreamConfig):
        super().__init__()
        self.table = nn.Embedding(items, config.dimension)
        # Only the directions of the vectors matter. The shorter a vector, the more a gradient step turns it. With
        # torch's default length, vectors would hardly change.
        nn.init.normal_(self.table.weight, std=0.03)
        shape = IADSRConfig(
            backbone=config.recommender,
            collaborative_dimension=config.dimension,
            hidden_dimension=config.dimension,
            dropout=config.dropout,
            max_length=config.max_length,
        )
        self.backbone = make_backbone(shape)
        self.predict = nn.Linear(config.dimension, config.dimension)

    def item_vectors(self, items: Tensor) -> Tensor:
        """Returns the unit vectors of items [...]: [..., d]."""
        return F.normalize(self.table(items), dim=-1)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Predicts the direction of the next item after each position.

        Args:
            items: int64 [B, T], the items of each history.
            mask: bool [B, T], false on padding.

        Returns:
            Unit vectors, [B, T, d].
        """
        vectors = self.item_vectors(items) * self.table.embedding_dim**0.5  # elements have size 1 on average
        return F.normalize(self.predict(self.backbone(vectors * mask[..., None], mask)), dim=-1)


@dataclass(frozen=True)
class TrainedRecommender:
    """A recommender after its best epoch."""

    model: NextItemModel
    """In evaluation mode."""
    candidates: npt.NDArray[np.int64]
    """int64 [C], the items in its training log, ascending. It can recommend only these."""
    config: DownstreamConfig
    """The configuration it was trained with."""
    epoch: int
    """The best epoch, counted from 1."""

    def measure(self, task: NextItemTask) -> npt.NDArray[np.float64]:
        """Returns HR and NDCG of each user, [U, 6] in the order of METRICS. Targets are ranked among all candidates."""
        return _measure(self.model, self.candidates, self.config, task)


def train_recommender(
    sequences: Sequences,
    weights: npt.NDArray[np.float32],
    items: int,
    validation: NextItemTask,
    config: DownstreamConfig,
    seed: int,
    report: Callable[[int, float], None] | None = None,
) -> TrainedRecommender:
    """Trains a recommender to predict every next item of every sequence. Keeps the epoch that is best on validation.

    Args:
        sequences: The log to learn from.
        weights: float [N], how much each interaction counts as a next item. All 1 for an ordinary recommender.
        items: V, the number of items.
        validation: The task that decides which epoch is kept.
        config: How to build and train it.
        seed: Seed of everything random. The same data and seed give the same recommender, if torch uses as many
            threads.
        report: Called with the epoch, counted from 1, and the fraction of it that is done.
    """
    candidates = np.unique(sequences.items).astype(np.int64)
    windows = _cut_windows(sequences, config.max_length)
    batch_positions = max(MIN_BATCH_POSITIONS, min(config.batch_positions, len(sequences.items) // STEPS_PER_EPOCH))
    generator = np.random.default_rng(seed)
    ids, counted = torch.from_numpy(sequences.items.astype(np.int64)), torch.from_numpy(weights.astype(np.float32))
    # Several recommenders may be trained in threads. Only their first weights are drawn from torch's generator.
    with _DRAWING, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would also seed the generator of the GPU
        model = NextItemModel(items, config)
    seed_dropout(model, np.random.SeedSequence(seed))
    optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
    schedule = falling_rate(optimiser, config.epochs)
    best = EarlyStopping(model, config.epochs)
    for epoch in range(1, config.epochs + 1):
        model.train()
        done = 0
        for chosen, index, mask in batches(windows, batch_positions, generator):
            at, real = torch.from_numpy(index), torch.from_numpy(mask)
            follows = real[:, 1:]  # [B, T - 1], true on positions that have a next item
            predicted = model(ids[at[:, :-1]], real[:, :-1])[follows]  # [n, d]
            targets, weight = ids[at[:, 1:]][follows], counted[at[:, 1:]][follows]  # [n]
            count = min(config.negatives, len(candidates))
            negatives = generator.choice(candidates, count, replace=False, shuffle=False)
            losses = _losses(model, predicted, targets, np.sort(negatives), len(candidates), config.temperature)
            optimiser.zero_grad()
            ((losses * weight).sum() / weight.sum().clamp(min=1e-6)).backward()
            optimiser.step()
            done += len(chosen)
            if report:
                report(epoch, done / len(windows))
        schedule.step()
        measured = _measure(model, candidates, config, validation)[:, STOPPING_METRIC].mean()
        best.stop_after(epoch, -measured)
    best.restore_best()
    return TrainedRecommender(model.eval(), candidates, config, best.best_epoch)


def _losses(
    model: NextItemModel,
    predicted: Tensor,
    targets: Tensor,
    negatives: npt.NDArray[np.int64],
    candidate_count: int,
    temperature: float,
) -> Tensor:
    """Returns the cross-entropy of each next item, [n], with a sampled softmax.

    Args:
        model: Gives the item vectors.
        predicted: Predicted directions of the next items, [n, d].
        targets: The next items, int64 [n].
        negatives: A random sample of the candidates, int64 [m], ascending. The softmax over all candidates is estimated
            from it.
        candidate_count: Number of all candidates.
        temperature: The cosines are divided by this.
    """
    others = torch.from_numpy(negatives)
    positive = (predicted * model.item_vectors(targets)).sum(-1) / temperature  # [n]
    logits = predicted @ (model.item_vectors(others) / temperature).T  # [n, m]
    # A negative that is the target itself must not count. There are few of these. They are found by a search for each
    # target in the sorted negatives, without comparing all n with all m.
    nearest = torch.searchsorted(others, targets).clamp(max=len(others) - 1)
    rows = (others[nearest] == targets).nonzero()[:, 0]
    logits.detach()[rows, nearest[rows]] = float("-inf")
    rest = torch.logsumexp(logits, dim=1) + math.log(candidate_count / len(others))
    return F.softplus(rest - positive)


def _measure(
    model: NextItemModel, candidates: npt.NDArray[np.int64], config: DownstreamConfig, task: NextItemTask
) -> npt.NDArray[np.float64]:
    model.eval()
    lengths = np.minimum(task.histories.lengths, config.max_length)
    none = np.zeros_like(lengths)
    windows = Windows(task.histories.offsets[1:] - lengths, lengths, np.arange(len(lengths)), none, none)
    users = torch.zeros(len(lengths), config.dimension)
    with torch.inference_mode():
        for chosen, index, mask in batches(windows.select(lengths > 0), 8 * config.batch_positions):
            items, real = torch.from_numpy(task.histories.items[index].astype(np.int64)), torch.from_numpy(mask)
            last = torch.from_numpy(mask.sum(1) - 1)
            chosen_users = torch.from_numpy(np.flatnonzero(lengths)[chosen])
            users[chosen_users] = model(items, real)[torch.arange(len(last)), last]
        vectors = model.item_vectors(torch.arange(model.table.num_embeddings))
    return measure_ranks(rank_targets(users.numpy(), vectors.numpy(), candidates, task.targets, task.seen))


def _cut_windows(sequences: Sequences, max_length: int) -> Windows:
    """Cuts windows of at most `max_length` + 1 interactions, in which every interaction but the first is a next item.

    Every interaction is a next item in exactly one window, except for each user's first. Windows are cut from the end
    of the sequence, so that the latest interactions are predicted from the longest histories.
    """
    next_items = np.maximum(sequences.lengths - 1, 0)  # of each user
    pieces = -(-next_items // max_length)
    users = np.repeat(np.arange(len(sequences)), pieces)
    later = np.cumsum(pieces)[users] - 1 - np.arange(len(users))  # windows of the same user that follow
    stops = sequences.offsets[users + 1] - later * max_length
    starts = np.maximum(stops - max_length - 1, sequences.offsets[users])
    none = np.zeros_like(users)
    return Windows(starts, stops - starts, users, (starts > sequences.offsets[users]).astype(np.int64), none)
