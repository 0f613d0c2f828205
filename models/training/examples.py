"""The examples that the noise head learns from: features of interactions, some of them inserted noise."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..core.windows import batches
from ..detector.batch import Batch
from ..detector.batch_builder import BatchBuilder
from ..detector.iadsr import IADSR
from ..detector.item_tensors import ItemTensors
from ..noise.insertion import NoisyLog

MAX_WEIGHT = 10.0
"""Of an inserted interaction; a level of popularity with hardly any noise must not hang on one example."""


MIN_NOISE_SHARE = 0.5
"""Of the overall share of noise, for a length of histories to say something."""


SHORT = 16
"""Lengths of histories below this are levels of their own; from here on a level spans a doubling."""


@dataclass(frozen=True)
class Examples:
    """Interactions as the noise head sees them, one row each.

    Attributes:
        features: [n, F].
        defined: bool [n, F].
        length: Interactions in the whole history, [n].
        label: 1 on inserted noise, [n].
        weight: What a row counts in training and measuring, [n].
    """

    features: Tensor
    defined: Tensor
    length: Tensor
    label: Tensor
    weight: Tensor

    def __add__(self, other: "Examples") -> "Examples":
        """Appends the rows of another."""
        return Examples(*(torch.cat([a, b]) for a, b in zip(vars(self).values(), vars(other).values(), strict=True)))

    def select(self, rows: Tensor) -> "Examples":
        """Returns some rows, by index or bool mask."""
        return Examples(*(tensor[rows] for tensor in vars(self).values()))


def measure_chance(model: IADSR, catalogue: ItemTensors, counts: np.ndarray) -> None:
    """Stores in the model the similarity that chance gives, from the catalogue and its items' counts [V] in the log."""
    items, pairs = (torch.from_numpy(counted).float() for counted in (counts, counts[catalogue.items]))  # [V], [P]
    text = F.normalize(catalogue.semantic, dim=-1)
    views = [*catalogue.others.unbind(1), text]  # each [P + 1, d], and [V + 1, k]
    known = [*catalogue.has_others.unbind(1), catalogue.has_semantic]
    for vectors, present, counted, chance in zip(views, known, (pairs, pairs, items), model.chances, strict=True):
        chance.measure(vectors, F.pad(counted, (0, 1)) * present)


def balance(log: NoisyLog) -> np.ndarray:
    """Weighs inserted interactions so that noise is as frequent among rare items as among popular ones.

    Without it uniform noise, and popular items that a user has already and so cannot be given, make rarity evidence of
    noise. On MovieLens-100K the head then dropped 17% of genuine interactions on the rarest sixth and 2% on the
    most popular; with it 8% and 7%, and it found more noise. Likewise for lengths: insertion only lengthens, so that
    short histories hold less inserted noise than long ones, which says nothing of the noise that was there.

    Returns:
        The weight of each interaction, float32 [N]: 1 on genuine ones; on inserted ones what their item's level of
        popularity (doubling from one to the next) and their user's length need to come to the overall share of noise.
    """
    items, inserted = log.sequences.items, log.inserted
    counts = np.bincount(items[~inserted], minlength=items.max() + 1)
    popularity = np.log2(np.maximum(counts, 1)).astype(int)[items]
    lengths = np.maximum(log.sequences.lengths[log.sequences.users], shortest_history(log))
    length = np.where(lengths < SHORT, lengths, SHORT + np.log2(np.maximum(lengths / SHORT, 1)).astype(int))
    weight = np.ones(len(items))
    odds = inserted.sum() / max((~inserted).sum(), 1)
    for level in (length, popularity):
        genuine, noise = (np.bincount(level[side], weight[side], level.max() + 1) for side in (~inserted, inserted))
        needed = np.minimum(odds * genuine / np.maximum(noise, 1), MAX_WEIGHT)
        weight[inserted] *= needed[level[inserted]]
    return np.minimum(weight, MAX_WEIGHT).astype(np.float32)


def shortest_history(log: NoisyLog) -> int:
    """Returns the length for which all shorter histories count, too, as far as the noise head can see.

    Up to this length histories hold half as much inserted noise as the log does, and less up to any shorter one. Where
    a log was cut to users of at least k interactions, those of exactly k hold none, as insertion only lengthens. No
    weight can mend that, and a head that saw their length took all that they did for genuine: where noise replaced 20%
    of Amazon Beauty, it found 2.7% in the shortest histories, and 14% since it cannot tell them from longer ones
    (AUROC of all 0.873 and 0.886).
    """
    lengths = log.sequences.lengths[log.sequences.users]
    interactions, noise = np.bincount(lengths).cumsum(), np.bincount(lengths, log.inserted).cumsum()
    return int((noise >= MIN_NOISE_SHARE * log.inserted.mean() * np.maximum(interactions, 1)).argmax())


def collect_examples(
    model: IADSR,
    log: NoisyLog,
    catalogue: ItemTensors,
    users: np.ndarray,
    batch_positions: int,
    change: Callable[[Batch], Batch] | None = None,
) -> Examples:
    """Computes the agreement features of some users' interactions, those of users with a single one left out.

    Args:
        model: The aligned model.
        log: The log.
        catalogue: The item vectors.
        users: Whom to read, bool [U].
        batch_positions: Padded positions per batch.
        change: Applied to each batch first, such as hiding a modality.
    """
    model.eval()
    weight = balance(log)
    reader = BatchBuilder(model, log.sequences, catalogue)
    windows = reader.windows.select(users[reader.windows.users] & (reader.windows.lengths > 1))
    parts = []
    with torch.no_grad():
        for chosen, index, mask in batches(windows, batch_positions):
            batch = reader.batch(windows.users[chosen], index, mask)
            if change:
                batch = change(batch)
            features, defined = model.features(batch, model.interests(batch))
            label, count = (torch.from_numpy(column[index]).to(features) for column in (log.inserted, weight))
            judged = torch.from_numpy(windows.judged(chosen, mask)) & (batch.has_collaborative | batch.has_semantic)
            parts.append(Examples(*(part[judged] for part in (features, defined, batch.length, label, count))))
    return Examples(*(torch.cat(column) for column in zip(*(vars(part).values() for part in parts), strict=True)))
