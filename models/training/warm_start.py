"""Starts a training from an earlier model of a log that has grown since.

The net is taken over. Item vectors are learned anew from the whole log, but near to where the earlier ones were, so
that the net can read them: E_c from a start that has forgotten the users, in few epochs; the rest counted and turned.
"""

from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg
import torch

from ..core.item_vectors import ItemVectors, PackedItemVectors
from ..core.sequences import Sequences
from ..detector.iadsr import IADSR
from ..noise.insertion import NoisyLog
from ..vectors.co_occurrence import unit_vectors
from ..vectors.neighbours import SHARPNESS, with_borrowed
from .detection_metrics import area_under_roc
from .fit_recommender import Recommender
from .head_examples import Version, collect_examples
from .training_config import TrainingConfig

COLLABORATIVE_EPOCHS, ALIGNMENT_EPOCHS, CONTEXT_EPOCHS, HEAD_EPOCHS = 1, 1, 1, 3
"""Most epochs of each stage of a training with a start."""

MIN_TEXT_SHARE = 0.8
"""If fewer of the interactions are with items that have a text, stage 1 takes as many epochs as without a start."""

USERS_SHARE, MIN_USERS = 0.4, 300
"""Share of the users that are not held out whom the net is trained on after stage 1, and fewest of them."""

CONTEXT_RATE, HEAD_RATE = 1e-3, 2e-3
"""Learning rates of a training with a start, in the first epoch: those that a whole training has near its end."""

VECTOR_LENGTH = 0.24
"""Length of the vectors that the item table starts with: about that of the random ones. Only directions count; the
length decides how fast they turn."""

ITEMS_AT_ONCE = 1024
"""Items whose neighbours are looked at together."""

MAY_DIFFER = ("users", "batch_positions")
"""Fields of `TrainingConfig` that a training and its start may differ in: both depend on the size of the log."""


@dataclass(frozen=True)
class Start:
    """An earlier model, and its vectors of the items of the log."""

    model: IADSR
    """The model."""
    collaborative: np.ndarray
    """Packed rows, as in `PackedItemVectors`, float32 [V, w]."""
    known: np.ndarray
    """Which of the items the model was trained with, bool [V]."""
    fingerprint: str
    """Tells the model from others."""

    def vectors(self, semantic: np.ndarray, has_semantic: np.ndarray) -> ItemVectors:
        """Returns the items' vectors as `clean` reads them. New items borrow from known ones of similar text.

        Args:
            semantic: Text embeddings, float [V, D].
            has_semantic: bool [V].
        """
        packed = with_borrowed(PackedItemVectors(self.collaborative, semantic, self.known, has_semantic))
        return packed.unpack(self.model.config.collaborative_dimension)


def shortened(training: TrainingConfig, text_share: float) -> TrainingConfig:
    """Returns how to train from a start: fewer epochs, at learning rates of a training that is nearly done.

    Args:
        training: How to train without a start.
        text_share: Share of the interactions that are with items that have a text.
    """
    epochs = COLLABORATIVE_EPOCHS if text_share >= MIN_TEXT_SHARE else training.collaborative_epochs
    return replace(
        training,
        collaborative_epochs=min(training.collaborative_epochs, epochs),
        alignment_epochs=min(training.alignment_epochs, ALIGNMENT_EPOCHS),
        context_epochs=min(training.context_epochs, CONTEXT_EPOCHS),
        head_epochs=min(training.head_epochs, HEAD_EPOCHS),
        context_learning_rate=min(training.context_learning_rate, CONTEXT_RATE),
        head_learning_rate=min(training.head_learning_rate, HEAD_RATE),
    )


def users_left_out(start: Start, sequences: Sequences, users: np.ndarray) -> np.ndarray:
    """Returns those of some users, bool [U], on whom the net is not trained. Each start has others, by a hash."""
    stream = np.random.SeedSequence(list(start.fingerprint.encode()))
    order = sequences.shuffled(np.flatnonzero(users), stream)
    left = np.zeros(len(users), bool)
    left[order[max(round(len(order) * USERS_SHARE), MIN_USERS) :]] = True
    return left


def take_over(start: Start, vectors: ItemVectors, nearest: np.ndarray, model: IADSR, recommender: Recommender) -> None:
    """Gives a model of random weights the weights of the start, and a recommender its item table, blurred.

    E_c of the start has seen the genuine interactions of the earlier log many times, and none of the noise that is
    inserted now. A head that is trained on both would learn "was not there before". So an item's vector is not taken
    over: the item gets the mean of those of its neighbours in text. Stage 1 then sees genuine and inserted
    interactions alike. Items without a text keep their random vectors.

    Args:
        start: The start.
        vectors: What `start.vectors` returned.
        nearest: What `nearest_texts` returned for the items, int [V, k].
        model: The model, of the same shape.
        recommender: The recommender of stage 1.
    """
    model.load_state_dict(start.model.state_dict())
    recommender.backbone.load_state_dict(model.backbone.state_dict())
    recommender.predict.load_state_dict(model.predict.state_dict())
    with torch.no_grad():
        for first in range(0, len(nearest), ITEMS_AT_ONCE):
            here = slice(first, first + ITEMS_AT_ONCE)
            rows = _mean_of_neighbours(vectors, np.arange(len(nearest))[here], nearest[here])
            told = torch.from_numpy(np.any(rows, axis=1))
            recommender.table.weight[here][told] = torch.from_numpy(rows)[told] * VECTOR_LENGTH


def _mean_of_neighbours(vectors: ItemVectors, items: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """Returns unit vectors in the direction of the mean E_c of each item's neighbours, float32 [n, d].

    Zeros for items that have no neighbour of which E_c is known.
    """
    own, others = (unit_vectors(vectors.semantic[chosen].astype(np.float32)) for chosen in (items, nearest))
    similarity = np.maximum(np.einsum("nd,nkd->nk", own, others), 0)
    weights = np.where((nearest >= 0) & vectors.has_collaborative[nearest], similarity**SHARPNESS, 0)
    return unit_vectors(np.einsum("nk,nkd->nd", weights, vectors.collaborative[nearest]).astype(np.float32))


def turn(vectors: np.ndarray, earlier: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Turns vectors of items as near to earlier ones as a rotation can bring them; no cosine of theirs changes.

    Args:
        vectors: float [folds, V, d]; zeros where unknown.
        earlier: Vectors of the same items and folds; zeros where unknown.
        counts: How much each item weighs, [V].
    """
    weights = counts.astype(np.float32)[:, None]
    product = sum((own * weights).T @ before for own, before in zip(vectors, earlier, strict=True))
    left, _, right = scipy.linalg.svd(product)
    turned = np.empty_like(vectors)
    for own, before in zip(turned, vectors, strict=True):
        own[:] = before.astype(np.float32) @ (left @ right).astype(np.float32)
    return turned


def held_out_auroc(
    start: Start, vectors: ItemVectors, log: NoisyLog, users: np.ndarray, batch_positions: int, workers: int
) -> float:
    """Returns how well the start, as it is, tells the inserted noise of some users, as `fit_head` measures it.

    Args:
        start: The start.
        vectors: What `start.vectors` returned.
        log: The log.
        users: Whose interactions to judge, bool [U].
        batch_positions: Padded positions per batch.
        workers: Threads.
    """
    model = start.model
    examples = collect_examples(model, log, [lambda: nullcontext(Version(vectors))], users, batch_positions, workers)
    with torch.no_grad():
        logit = model.head_logit(examples.features.float(), examples.defined, examples.length)[:, 0]
    return area_under_roc(examples.label.numpy(), logit.numpy(), examples.weight.numpy())
