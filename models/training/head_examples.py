"""The examples that the noise head learns from: features of interactions, some of which are inserted noise."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.in_order import in_order
from ..core.item_vectors import ItemVectors
from ..core.windows import Windows, batches
from ..detector.batch import Batch
from ..detector.batch_builder import BatchBuilder
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from ..detector.scoring import groups_of_users
from ..noise.insertion import NoisyLog
from .heap import trim_heap

MAX_WEIGHT = 10.0
"""Largest weight of an inserted interaction. A level of popularity with hardly any noise must not hang on one
example."""

MIN_NOISE_SHARE = 0.5
"""The head sees the length of a history only from the length up to which histories hold at least this part of the
log's share of inserted noise."""

GROUP_INTERACTIONS = 1 << 16
"""Users who have together about this many interactions are read together. Only their items are held as tensors."""

MIN_DOUBLING_LENGTH = 16
"""Each shorter length of history is a level of its own. From this length on, a level spans a doubling."""


@dataclass(frozen=True)
class HeadExamples:
    """Labelled interactions as the noise head sees them, one row each."""

    features: Tensor
    """The features that the head reads, float16 or float32 [n, F]."""
    defined: Tensor
    """Which of them are defined, bool [n, F]."""
    length: Tensor
    """Interactions in the whole history, [n]."""
    weight: Tensor
    """How much the row counts in training, [n]."""
    kind: Tensor
    """Which of NOISE_KINDS it is, by number, [n]; -1 on what is genuine."""

    @property
    def label(self) -> Tensor:
        """1 on inserted noise, else 0, [n]."""
        return (self.kind >= 0).to(self.weight)

    def select(self, rows: Tensor) -> "HeadExamples":
        """Returns some rows, by index or bool mask."""
        return HeadExamples(*(tensor[rows] for tensor in vars(self).values()))


@dataclass(frozen=True)
class Version:
    """The items of a log as examples are collected with them."""

    vectors: ItemVectors
    """The items."""
    change: Callable[[Batch, np.random.Generator], Batch] | None = None
    """Applied to each batch first, such as hiding a modality."""
    generator: np.random.Generator | None = None
    """Seeds the generator that `change` is given; None only if there is no change."""


_Job = tuple[Version, BatchBuilder, Windows, np.ndarray, np.ndarray, np.ndarray, np.ndarray, int | None]


def measure_chance(model: IADSR, item_tensors: ItemTensors, counts: np.ndarray) -> None:
    """Stores in the model the similarity that chance gives in each view.

    Args:
        model: The model.
        item_tensors: All V items.
        counts: How often each occurs in the log, int [V].
    """
    items, pairs = (torch.from_numpy(counted).float() for counted in (counts, counts[item_tensors.items]))  # [V], [P]
    views = [
        (item_tensors.co_occurrence, item_tensors.has_co_occurrence, pairs),
        (item_tensors.company, item_tensors.has_company, pairs),
        (F.normalize(item_tensors.semantic, dim=-1), item_tensors.has_semantic, items),
    ]
    for (vectors, present, counted), chance in zip(views, model.chances, strict=True):
        chance.measure(vectors, F.pad(counted, (0, 1)) * present)


def balanced_weights(log: NoisyLog) -> np.ndarray:
    """Weighs inserted interactions so that noise is as frequent at every popularity and at every length of history.

    Otherwise the head would take rarity for a sign of noise. Uniform noise falls on rare items, and a user cannot be
    given popular items that the user already has. Likewise for lengths: insertion only lengthens histories, so that
    short ones hold less inserted noise than long ones. That says nothing about the noise that was there before.

    Args:
        log: The log.

    Returns:
        The weight of each interaction, float32 [N]. It is 1 on genuine ones. On inserted ones it is what their item's
        level of popularity (each spans a doubling) and their user's length need to reach the overall share of noise.
    """
    items, inserted = log.sequences.items, log.inserted
    counts = np.bincount(items[~inserted], minlength=items.max() + 1)
    popularity = np.log2(np.maximum(counts, 1)).astype(int)[items]
    lengths = np.maximum(log.sequences.lengths[log.sequences.users], shortest_history(log))
    length = np.where(
        lengths < MIN_DOUBLING_LENGTH,
        lengths,
        MIN_DOUBLING_LENGTH + np.log2(np.maximum(lengths / MIN_DOUBLING_LENGTH, 1)).astype(int),
    )
    weight = np.ones(len(items))
    odds = inserted.sum() / max((~inserted).sum(), 1)
    for level in (length, popularity):
        genuine, noise = (np.bincount(level[side], weight[side], level.max() + 1) for side in (~inserted, inserted))
        needed = np.minimum(odds * genuine / np.maximum(noise, 1), MAX_WEIGHT)
        weight[inserted] *= needed[level[inserted]]
    return np.minimum(weight, MAX_WEIGHT).astype(np.float32)


def shortest_history(log: NoisyLog) -> int:
    """Returns the length that the noise head sees instead of any shorter one.

    It is the shortest length up to which histories hold at least half of the log's share of inserted noise. Many logs
    were cut to users of at least k interactions. Histories of exactly k then hold no inserted noise at all, because
    insertion only lengthens, and no weight can balance that. A head that saw their length would take everything in
    them for genuine.
    """
    lengths = log.sequences.lengths[log.sequences.users]
    interactions, noise = np.bincount(lengths).cumsum(), np.bincount(lengths, log.inserted).cumsum()
    return int((noise >= MIN_NOISE_SHARE * log.inserted.mean() * np.maximum(interactions, 1)).argmax())


def collect_examples(
    model: IADSR,
    log: NoisyLog,
    versions: list[Callable[[], AbstractContextManager[Version]]],
    users: np.ndarray,
    batch_positions: int,
    workers: int = 1,
) -> HeadExamples:
    """Computes the features of some users' interactions. Users with a single interaction are left out.

    Args:
        model: The aligned model.
        log: The log.
        versions: Give the items of the log for a while. The examples are collected once with each.
        users: Whose interactions to read, bool [U].
        batch_positions: Padded positions per batch.
        workers: Threads.
    """
    model.eval()
    weight, kind, folds = balanced_weights(log), log.kind, model.config.folds
    assert kind is not None
    sequences, rows = log.sequences.take(np.flatnonzero(users & (log.sequences.lengths > 1)))
    judged = len(versions) * len(rows)
    wide, narrow = (judged, len(model.head.feature_names)), (judged,)
    # Filled in place: parts that are joined in the end would need twice the memory.
    examples = HeadExamples(
        torch.empty(wide, dtype=torch.float16),
        torch.empty(wide, dtype=torch.bool),
        *(torch.empty(narrow) for _ in range(3)),
    )

    def jobs() -> Iterator[_Job]:
        for make in versions:
            with make() as version:
                for some in groups_of_users(sequences, folds, group_interactions=GROUP_INTERACTIONS):
                    group, own = sequences.take(some)
                    items, numbers = np.unique(group.items, return_inverse=True)
                    wanted = np.zeros((len(items), folds), bool)
                    wanted[numbers, np.repeat(group.folds(folds), group.lengths)] = model.head.reads_other_users
                    item_tensors = ItemTensors.select(model, version.vectors, items, wanted)
                    builder = BatchBuilder(model, replace(group, items=numbers), item_tensors)
                    for chosen, index, mask in batches(builder.windows, batch_positions):
                        seed = None if version.generator is None else int(version.generator.integers(2**62))
                        yield version, builder, builder.windows, rows[own], chosen, index, mask, seed

    def compute(job: _Job) -> HeadExamples:
        version, builder, windows, of_log, chosen, index, mask, seed = job
        with torch.no_grad():
            batch = builder.batch(windows.users[chosen], index, mask)
            if version.change:
                batch = version.change(batch, np.random.default_rng(seed))
            features, defined = model.features(batch, model.interests(batch))
        columns = (torch.from_numpy(column[of_log[index]]).to(features) for column in (weight, kind))
        told = torch.from_numpy(windows.judged(chosen, mask)) & (batch.has_collaborative | batch.has_semantic)
        return HeadExamples(*(part[told] for part in (features, defined, batch.length, *columns)))

    filled = 0
    for part in in_order(compute, jobs(), workers):
        here = slice(filled, filled + len(part.kind))
        for column, values in zip(vars(examples).values(), vars(part).values(), strict=True):
            column[here] = values
        filled = here.stop
    trim_heap()
    return HeadExamples(*(column[:filled] for column in vars(examples).values()))
