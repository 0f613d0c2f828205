"""A sequential recommender, trained the way it would be for use: the yardstick for what cleaning a log is worth.

It shares its backbones with the detector and nothing else: the yardstick must not move when the detector does.
"""

import math
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
from ..detector.model_config import BackboneName, IADSRConfig
from ..training.early_stopping import EarlyStopping
from ..training.epochs import falling_rate
from .ranking import METRICS, measure_ranks, rank_targets

STEPS_PER_EPOCH, MIN_BATCH = 50, 256


STOPPING_METRIC = METRICS.index("NDCG@10")


@dataclass(frozen=True)
class DownstreamConfig:
    """How the recommender is built and trained. On Amazon Beauty SASRec reaches a test NDCG@10 of 0.048 with these."""

    recommender: BackboneName = "sasrec"
    """Its backbone."""
    dimension: int = 64
    """d: length of an item vector, and of what the backbone makes of a history."""
    dropout: float = 0.4
    """Share of units dropped while training."""
    max_length: int = 50
    """Interactions of a history that are looked at: the last so many."""
    learning_rate: float = 2e-3
    """Adam's learning rate in the first epoch; it falls to nothing from epoch to epoch, so that trainings with other
    seeds end alike."""
    temperature: float = 0.07
    """Divides the cosines between histories and items."""
    negatives: int = 512
    """Items per batch, drawn uniformly and shared by its positions, that a next item must win against."""
    batch_positions: int = 1024
    """Most padded positions per batch. A small log takes smaller batches, for fifty steps an epoch."""
    epochs: int = 20
    """Epochs; the one with the best NDCG@10 on the validation items is kept."""


@dataclass(frozen=True)
class NextItemTask:
    """What a recommender is asked: the next item of each of U users.

    Attributes:
        histories: What it may look at, one sequence per user.
        targets: int [U], the item that came next.
        seen: What each user already has and is not to be recommended; None: anything may be recommended again.
    """

    histories: Sequences
    targets: npt.NDArray[np.integer]
    seen: Sequences | None


class NextItemModel(nn.Module):
    """A backbone between item vectors of unit length that serve as input and, tied, as output."""

    def __init__(self, items: int, config: DownstreamConfig):
        super().__init__()
        self.table = nn.Embedding(items, config.dimension)
        # Only directions count. Short vectors turn quickly at first; at torch's default length they barely move.
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
        """Returns unit vectors [..., d] of items [...]."""
        return F.normalize(self.table(items), dim=-1)

    def forward(self, items: Tensor, mask: Tensor) -> Tensor:
        """Predicts the direction of the next item after each position, [B, T, d], from items and mask [B, T]."""
        vectors = self.item_vectors(items) * self.table.embedding_dim**0.5  # elements of size 1
        return F.normalize(self.predict(self.backbone(vectors * mask[..., None], mask)), dim=-1)


@dataclass(frozen=True)
class TrainedRecommender:
    """A recommender at its best epoch.

    Attributes:
        model: In evaluation mode.
        known: int [C], the items it has been trained on: all that it can recommend.
        config: What it was trained with.
        epoch: The best epoch, from 1.
    """

    model: NextItemModel
    known: npt.NDArray[np.int64]
    config: DownstreamConfig
    epoch: int

    def measure(self, task: NextItemTask) -> npt.NDArray[np.float64]:
        """Returns HR and NDCG of each user in the order of METRICS, [U, 6], against the full catalogue."""
        return _measure(self.model, self.known, self.config, task)


def train_recommender(
    sequences: Sequences,
    weights: npt.NDArray[np.float32],
    items: int,
    validation: NextItemTask,
    config: DownstreamConfig,
    seed: int,
    report: Callable[[int, float], None] | None = None,
) -> TrainedRecommender:
    """Trains on every next item of every sequence, and keeps the epoch that ranks the validation items best.

    Args:
        sequences: The log to learn from.
        weights: float [N], how much each interaction counts as a next item; 1 everywhere for a plain recommender.
        items: V, the size of the catalogue.
        validation: What decides which epoch is kept.
        config: The recommender.
        seed: Of everything random; same data, seed and number of threads give the same recommender.
        report: Called with the epoch (from 1) and the fraction of it that is done.
    """
    known = np.unique(sequences.items).astype(np.int64)
    windows = _cut_windows(sequences, config.max_length)
    batch_positions = max(MIN_BATCH, min(config.batch_positions, len(sequences.items) // STEPS_PER_EPOCH))
    generator = np.random.default_rng(seed)
    ids, counted = torch.from_numpy(sequences.items.astype(np.int64)), torch.from_numpy(weights.astype(np.float32))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # not torch.manual_seed, which would touch a GPU's generator too
        model = NextItemModel(items, config)
        optimiser = torch.optim.Adam(model.parameters(), lr=config.learning_rate, fused=True)
        schedule = falling_rate(optimiser, config.epochs)
        best = EarlyStopping(model, config.epochs)
        for epoch in range(1, config.epochs + 1):
            model.train()
            done = 0
            for chosen, index, mask in batches(windows, batch_positions, generator):
                at, real = torch.from_numpy(index), torch.from_numpy(mask)
                follows = real[:, 1:]  # [B, T - 1], positions that have a next item
                predicted = model(ids[at[:, :-1]], real[:, :-1])[follows]  # [n, d]
                targets, weight = ids[at[:, 1:]][follows], counted[at[:, 1:]][follows]  # [n]
                negatives = generator.choice(known, min(config.negatives, len(known)), replace=False, shuffle=False)
                losses = _losses(model, predicted, targets, np.sort(negatives), len(known), config.temperature)
                optimiser.zero_grad()
                ((losses * weight).sum() / weight.sum().clamp(min=1e-6)).backward()
                optimiser.step()
                done += len(chosen)
                if report:
                    report(epoch, done / len(windows))
            schedule.step()
            measured = _measure(model, known, config, validation)[:, STOPPING_METRIC].mean()
            best.stop_after(epoch, -measured)
        best.restore_best()
    return TrainedRecommender(model.eval(), known, config, best.best_epoch)


def _losses(
    model: NextItemModel,
    predicted: Tensor,
    targets: Tensor,
    negatives: npt.NDArray[np.int64],
    known: int,
    temperature: float,
) -> Tensor:
    """Cross-entropy of each next item [n], its softmax over the catalogue estimated from sorted negatives [m]."""
    others = torch.from_numpy(negatives)
    positive = (predicted * model.item_vectors(targets)).sum(-1) / temperature  # [n]
    logits = predicted @ (model.item_vectors(others) / temperature).T  # [n, m]
    # A negative that is the target itself does not count. They are few, and found without comparing all with all.
    nearest = torch.searchsorted(others, targets).clamp(max=len(others) - 1)
    rows = (others[nearest] == targets).nonzero()[:, 0]
    logits.detach()[rows, nearest[rows]] = float("-inf")
    rest = torch.logsumexp(logits, dim=1) + math.log(known / len(others))
    return F.softplus(rest - positive)


def _measure(
    model: NextItemModel, known: npt.NDArray[np.int64], config: DownstreamConfig, task: NextItemTask
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
            who = torch.from_numpy(np.flatnonzero(lengths)[chosen])
            users[who] = model(items, real)[torch.arange(len(last)), last]
        vectors = model.item_vectors(torch.arange(model.table.num_embeddings))
    return measure_ranks(rank_targets(users.numpy(), vectors.numpy(), known, task.targets, task.seen))


def _cut_windows(sequences: Sequences, max_length: int) -> Windows:
    """Cuts windows of at most `max_length` + 1 interactions in which all but the first are a next item, each once.

    Cut from the end, so that a user's latest interactions have the longest history before them.
    """
    wanted = np.maximum(sequences.lengths - 1, 0)  # next items of each user
    pieces = -(-wanted // max_length)
    users = np.repeat(np.arange(len(sequences)), pieces)
    later = np.cumsum(pieces)[users] - 1 - np.arange(len(users))  # windows of the same user that follow
    stops = sequences.offsets[users + 1] - later * max_length
    starts = np.maximum(stops - max_length - 1, sequences.offsets[users])
    none = np.zeros_like(users)
    return Windows(starts, stops - starts, users, (starts > sequences.offsets[users]).astype(np.int64), none)
