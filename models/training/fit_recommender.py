"""Stage 1: a sequential recommender trained for next-item prediction, whose item table is E_c."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.sequences import Sequences
from ..core.windows import Windows, batches
from ..detector.backbones import make_backbone, read_items
from ..detector.model_config import IADSRConfig
from .batch_parts import BatchParts, parts_of
from .checkpoints import Checkpoint
from .early_stopping import EarlyStopping
from .epochs import run_epoch, run_epochs
from .losses import sampled_softmax
from .training_config import TrainingConfig


class Recommender(nn.Module):
    """A backbone with an item table that serves both as input and as output (tied weights)."""

    def __init__(self, config: IADSRConfig, items: int):
        super().__init__()
        self.table = nn.Embedding(items, config.collaborative_dimension)
        # Only directions count. Short vectors turn quickly at first. At torch's default length they would barely move.
        nn.init.normal_(self.table.weight, std=0.03)
        self.backbone = make_backbone(config)
        self.predict = nn.Linear(config.hidden_dimension, config.collaborative_dimension)

    def forward(self, vectors: Tensor, mask: Tensor) -> Tensor:
        """Predicts the next item's vector after each position, [B, T, d], from rows of the table, [B, T, d]."""
        return self.predict(self.backbone(read_items(F.normalize(vectors, dim=-1)) * mask[..., None], mask))


@dataclass(frozen=True)
class RecommenderFit:
    """What came of the training, beside the trained recommender."""

    epochs: int
    """The best epoch."""
    held_out_loss: float
    """Next-item loss of held-out users at the best epoch."""


def fit_recommender(
    recommender: Recommender,
    sequences: Sequences,
    windows: Windows,
    held_out_sequences: Sequences,
    held_out: Windows,
    training: TrainingConfig,
    stream: np.random.SeedSequence,
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
    workers: int = 1,
) -> RecommenderFit:
    """Trains a recommender until the next-item loss of held-out users no longer falls.

    Args:
        recommender: The recommender, with random weights.
        sequences: The log.
        windows: Windows of it to train on.
        held_out_sequences: The log that is measured on.
        held_out: Windows of it, of users that are not trained on.
        training: How to train.
        stream: Seeds everything random.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.
        checkpoint: Keeps what was done.
        workers: Threads, each of which computes a part of a batch.
    """
    batching, dropout = stream.spawn(2)
    generator = np.random.default_rng(batching)
    optimiser = torch.optim.Adam(recommender.parameters(), lr=training.learning_rate, fused=True)
    stopping = EarlyStopping(recommender, training.patience)
    # The same negatives at every measurement, so that epochs compare.
    measured_negatives = _draw(sequences, training.negatives, generator)

    def loss_of(
        part: Recommender, log: Sequences, index: np.ndarray, mask: np.ndarray, steps: np.ndarray, negatives: np.ndarray
    ) -> tuple[Tensor, int]:
        ids, real = torch.from_numpy(log.items[index].astype(np.int64)), torch.from_numpy(mask)
        follows = real[:, 1:]  # positions that have a later one
        others = torch.from_numpy(negatives)
        # Read once: each reading gives a gradient of the size of the whole table.
        rows = part.table(torch.cat([ids.flatten(), others]))
        vectors, of_others = rows.split([ids.numel(), len(others)])
        context = part(vectors.view(*ids.shape, -1), real)[:, :-1][follows]  # [n, d]
        wanted = (torch.from_numpy(steps) + torch.arange(len(ids))[:, None] * ids.shape[1])[follows]  # [n]
        targets = ids.flatten()[wanted]
        of_targets = vectors.index_select(0, wanted)
        loss = sampled_softmax(context, of_targets, of_others, targets, others, training.temperature)
        return loss, len(targets)

    def held_out_loss() -> float:
        recommender.eval()
        with torch.inference_mode():
            parts = [
                loss_of(recommender, held_out_sequences, index, mask, _next_steps(mask), measured_negatives)
                for _, index, mask in batches(held_out, training.batch_positions)
            ]
        return sum(float(loss) * n for loss, n in parts) / max(sum(n for _, n in parts), 1)

    def learn(chosen: np.ndarray, index: np.ndarray, mask: np.ndarray) -> float:
        negatives = _draw(sequences, training.negatives, generator)
        steps = _target_steps(mask, training.ahead_share, generator)
        predicted = max(int(mask[:, 1:].sum()), 1)

        def learn_part(part: Recommender, rows: slice) -> float:
            loss, number = loss_of(part, sequences, index[rows], mask[rows], steps[rows], negatives)
            loss = loss * (number / predicted)
            loss.backward()
            return loss.item()

        losses = parts.run(learn_part, parts_of(len(mask)))
        parts.add_gradients()
        return sum(losses)

    def run(epoch: int) -> tuple[float, dict[str, float]]:
        parts.train()
        training_loss = run_epoch(
            windows, training.batch_positions, generator, optimiser, learn, lambda done: report(epoch, done, {})
        )
        measured = held_out_loss()
        return measured, {"training_loss": training_loss, "held_out_loss": measured}

    with BatchParts(recommender, workers, dropout) as parts:
        generators = [generator, *parts.generators]
        run_epochs(training.collaborative_epochs, stopping, optimiser, run, report, checkpoint, generators)
    recommender.eval()
    return RecommenderFit(stopping.best_epoch, stopping.best)


def _next_steps(mask: np.ndarray) -> np.ndarray:
    """Returns the position after each position but the last, int64 [B, T - 1]."""
    return np.tile(np.arange(1, mask.shape[1]), (len(mask), 1))


def _target_steps(mask: np.ndarray, ahead_share: float, generator: np.random.Generator) -> np.ndarray:
    """Picks the later position that each position predicts, int64 [B, T - 1]: the next one, or a random one."""
    following = _next_steps(mask)
    left = np.maximum(mask.sum(1, keepdims=True) - following, 1)  # [B, T - 1] later positions
    random_step = following + (generator.random(left.shape) * left).astype(np.int64)
    any_later = generator.random(left.shape) < ahead_share
    # On padding the pick is not used. It only has to be a valid index.
    return np.where(any_later, np.minimum(random_step, mask.shape[1] - 1), following)


def _draw(sequences: Sequences, count: int, generator: np.random.Generator) -> np.ndarray:
    """Draws items in proportion to popularity, by drawing random interactions."""
    return sequences.items[generator.integers(0, len(sequences.items), count)].astype(np.int64)
