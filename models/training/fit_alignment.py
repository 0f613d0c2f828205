"""Stage 2: aligns the interests of the two modalities, starting from stage 1's backbone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..core.windows import Windows, batches
from ..detector.batch import Batch
from ..detector.iadsr import IADSR
from ..detector.interests import Interests
from ..detector.item_tensors import ItemTensors
from ..noise.insertion import NoisyLog
from .batch_parts import BatchParts, parts_of
from .checkpoints import Checkpoint
from .detection_metrics import area_under_roc
from .early_stopping import EarlyStopping
from .epochs import run_epoch, run_epochs
from .losses import hard_gumbel_sigmoid, info_nce, sampled_softmax
from .training_config import TrainingConfig

MAX_ALIGNED = 1024
"""Most positions of a batch that InfoNCE tells apart. Its cost grows with their square."""


@dataclass(frozen=True)
class AlignmentFit:
    """What came of the training, beside the trained model."""

    epochs: int
    """The best epoch."""
    held_out_auroc: float
    """AUROC at which the paper's own score, minus the sum of the three similarities, finds the noise inserted into
    held-out users."""


def fit_alignment(
    model: IADSR,
    log: NoisyLog,
    item_tensors: ItemTensors,
    windows: Windows,
    held_out: Windows,
    training: TrainingConfig,
    stream: np.random.SeedSequence,
    report: Callable[[int, float, dict[str, float]], None],
    checkpoint: Checkpoint,
    workers: int = 1,
) -> AlignmentFit:
    """Trains everything but the noise head, until detection on held-out users no longer gets better.

    The loss is the paper's: next item, both InfoNCE terms and reconstruction, all weighted 1 (section 4.4).

    Args:
        model: The model. Its backbone and `predict` come from stage 1.
        log: The log. Which interactions were inserted is used for stopping only.
        item_tensors: The items of the log.
        windows: Windows to train on.
        held_out: Windows of users that are not trained on.
        training: How to train.
        stream: Seeds batches, negatives, dropout and the mask's noise.
        report: Called with the epoch (from 1), the fraction of it that is done, and measurements at its end.
        checkpoint: Keeps what was done.
        workers: Threads, each of which computes a part of a batch.
    """
    optimiser = torch.optim.Adam(
        [p for name, p in model.named_parameters() if not name.startswith("head.")],
        lr=training.learning_rate,
        fused=True,
    )
    stopping = EarlyStopping(model, training.patience)
    batching, masking, dropout = stream.spawn(3)
    generator, noise = np.random.default_rng(batching), np.random.default_rng(masking)

    def learn(chosen: np.ndarray, index: np.ndarray, mask: np.ndarray) -> float:
        negatives = log.sequences.items[generator.integers(0, len(log.inserted), training.negatives)]
        sample = np.zeros(int(mask.sum()), bool)
        sample[generator.permutation(len(sample))[:MAX_ALIGNED]] = True
        aligned = np.zeros_like(mask)
        aligned[mask] = sample
        batch = _Positions(log.sequences.items[index], mask, aligned, noise.random(mask.shape, np.float32))
        return _learn(parts, item_tensors, batch, negatives.astype(np.int64), training.temperature)

    def run(epoch: int) -> tuple[float, dict[str, float]]:
        parts.train()
        training_loss = run_epoch(
            windows, training.batch_positions, generator, optimiser, learn, lambda done: report(epoch, done, {})
        )
        measured = _paper_auroc(model, log, item_tensors, held_out, training.batch_positions)
        return -measured, {"training_loss": training_loss, "held_out_auroc": measured}

    with BatchParts(model, workers, dropout) as parts:
        generators = [generator, noise, *parts.generators]
        run_epochs(training.alignment_epochs, stopping, optimiser, run, report, checkpoint, generators)
    return AlignmentFit(stopping.best_epoch, -stopping.best)


@dataclass(frozen=True)
class _Positions:
    """The positions of a batch, or of a part of it, each [B, T]."""

    items: np.ndarray
    """int32."""
    mask: np.ndarray
    """bool, false on padding."""
    aligned: np.ndarray
    """bool, which of them InfoNCE tells apart."""
    uniform: np.ndarray
    """float32, drawn evenly from [0, 1): what decides which interests are kept."""

    def take(self, rows: slice) -> "_Positions":
        """Returns some of the windows."""
        return _Positions(*(column[rows] for column in vars(self).values()))


@dataclass(frozen=True)
class _Read:
    """What a part of a batch gives."""

    loss: Tensor
    """What it adds to the loss by itself, a scalar."""
    compared: list[Tensor]
    """Interests that InfoNCE compares with those of the whole batch: of the positions by both modalities, [n, h], and
    of the users by both, [m, h]."""
    items: Tensor
    """The items of these positions, int64 [n]."""


def _learn(
    parts: BatchParts[IADSR], item_tensors: ItemTensors, batch: _Positions, negatives: np.ndarray, temperature: float
) -> float:
    """Computes the gradients of a batch, and returns its loss.

    InfoNCE compares all windows of a batch, so the parts wait for one another before and after it.
    """
    predicted, positions = max(int(batch.mask[:, 1:].sum()), 1), int(batch.mask.sum())
    others = torch.from_numpy(negatives)

    def read(model: IADSR, part: _Positions) -> _Read:
        return _read(model, item_tensors, part, others, temperature, predicted, positions)

    done = parts.run(read, [batch.take(rows) for rows in parts_of(len(batch.mask))])
    columns = zip(*(part.compared for part in done), strict=True)
    together = [torch.cat(column).detach().requires_grad_() for column in columns]
    short = info_nce(together[0], together[1], temperature, torch.cat([part.items for part in done]))
    long = info_nce(together[2], together[3], temperature)
    gradients = [
        gradient.split([len(part.compared[n]) for part in done])
        for n, gradient in enumerate(torch.autograd.grad(short + long, together, materialize_grads=True))
    ]

    def learn(model: IADSR, part: tuple[_Read, tuple[Tensor, ...]]) -> None:
        of, to_compared = part
        torch.autograd.backward([of.loss, *of.compared], [None, *to_compared])

    parts.run(learn, list(zip(done, zip(*gradients, strict=True), strict=True)))
    parts.add_gradients()
    return sum(part.loss.item() for part in done) + short.item() + long.item()


def _read(
    model: IADSR,
    item_tensors: ItemTensors,
    part: _Positions,
    others: Tensor,
    temperature: float,
    predicted: int,
    positions: int,
) -> _Read:
    """Reads a part of a batch.

    Args:
        model: The model, or its copy for this part.
        item_tensors: The items of the log.
        part: The part.
        others: The negative items of the batch, int64 [m].
        temperature: Of the losses.
        predicted: How many positions of the batch predict a next item.
        positions: How many positions the batch has.
    """
    batch, ids = item_tensors.batch(part.items, part.mask), torch.from_numpy(part.items.astype(np.int64))
    interests = model.interests(batch)
    follows = batch.mask[:, 1:]
    next_item = sampled_softmax(
        model.predict(interests.collaborative[:, :-1][follows]),
        batch.collaborative.gathered()[:, 1:][follows],
        item_tensors.collaborative[others],
        ids[:, 1:][follows],
        others,
        temperature,
    )
    reconstruction = _reconstruction(model, batch, interests, torch.from_numpy(part.uniform))
    aligned, has_text = torch.from_numpy(part.aligned) & batch.has_semantic, batch.has_semantic.any(1)
    of_positions = [interests.collaborative[aligned], interests.semantic[aligned]]
    of_users = [interests.user_collaborative[has_text], interests.user_semantic[has_text]]
    shares = int(follows.sum()) / predicted, int(batch.mask.sum()) / positions
    return _Read(next_item * shares[0] + reconstruction * shares[1], of_positions + of_users, ids[aligned])


def _reconstruction(model: IADSR, batch: Batch, interests: Interests, uniform: Tensor) -> Tensor:
    """Returns the mean squared error of items reconstructed from the interests that are kept (paper section 4.3)."""
    logits = model.similarities(interests, batch)[0].sum(-1)  # [B, T]
    kept = hard_gumbel_sigmoid(logits, uniform)[..., None] * interests.collaborative  # [B, T, h]
    return (model.decode(kept) - batch.collaborative.gathered())[batch.mask].square().mean()


def _paper_auroc(
    model: IADSR, log: NoisyLog, item_tensors: ItemTensors, windows: Windows, batch_positions: int
) -> float:
    model.eval()
    scores, labels = [], []
    with torch.inference_mode():
        for _, index, mask in batches(windows, batch_positions):
            batch = item_tensors.batch(log.sequences.items[index], mask)
            total = model.similarities(model.interests(batch), batch)[0].sum(-1)
            scores.append(-total.numpy()[mask])
            labels.append(log.inserted[index[mask]])
    return area_under_roc(np.concatenate(labels), np.concatenate(scores))
