"""Scorers without a trained network: rarity, repeats, co-occurrence, text similarity, and the last two combined."""

import numpy as np
import scipy.sparse
from scipy.sparse.linalg import svds
from scipy.stats import rankdata

from iadsr.models.core.sequences import Sequences
from iadsr.models.vectors.co_occurrence import unit_vectors

COMPONENTS = 64
FOLDS = 10


def rarity(sequences: Sequences) -> np.ndarray:
    """Scores an interaction by how rarely its item occurs in the log."""
    return -np.bincount(sequences.items)[sequences.items].astype(float)


def repeats(sequences: Sequences) -> np.ndarray:
    """Scores an interaction by how seldom the user has its item.

    Added noise is never an item that the user already has. In a log with many repeats, this alone finds some noise.
    """
    pair = sequences.users * (int(sequences.items.max()) + 1) + sequences.items
    _, of, number = np.unique(pair, return_inverse=True, return_counts=True)
    return -number[of].astype(float)


def co_occurrence(sequences: Sequences) -> np.ndarray:
    """Scores by how little the item goes with the rest of the sequence: mean cosine, the item left out.

    Item vectors are the leading singular vectors of the items' positive pointwise mutual information. Of the forms that
    were tried with vectors of the whole log, this is the strongest.
    """
    items = int(sequences.items.max()) + 1
    return -_mean_cosine_to_rest(sequences, *co_occurrence_vectors(sequences, items))


def co_occurrence_of_others(sequences: Sequences) -> np.ndarray:
    """Scores as `co_occurrence` does, from item vectors that have not seen the user.

    An item inserted into a user's sequence co-occurs with the rest of it because of the insertion. Here users are
    scored in FOLDS parts, each with the vectors of all other users. That is stronger in a sparse log, and weaker in a
    dense one, which has no need of it and misses the users left out.
    """
    items = int(sequences.items.max()) + 1
    fold = (np.random.default_rng(0).permutation(len(sequences)) % FOLDS)[sequences.users]
    scores = np.zeros(len(sequences.items))
    for part in np.unique(fold):
        vectors, present = co_occurrence_vectors(sequences.restrict(fold != part), items)
        scores[fold == part] = -_mean_cosine_to_rest(sequences.restrict(fold == part), vectors, present)
    return scores


def text_similarity(sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray) -> np.ndarray:
    """Scores by how unlike the rest of the sequence the item's text is: mean cosine, the item left out.

    Embeddings are centred first, which makes this scorer much stronger.
    """
    return -_mean_cosine_to_rest(sequences, centre(semantic, has_semantic), has_semantic)


def mean_rank(*scores: np.ndarray) -> np.ndarray:
    """Combines scorers by the mean of their ranks over the whole log, in [0, 1]."""
    return np.mean([rankdata(score) / len(score) for score in scores], axis=0)


def centre(semantic: np.ndarray, has_semantic: np.ndarray) -> np.ndarray:
    """Subtracts from text embeddings [V, D] the mean of those that are present."""
    return semantic - semantic[has_semantic].mean(0)


def co_occurrence_vectors(sequences: Sequences, items: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns item vectors [items, n] from who occurs with whom, and which items co-occur with any, bool [items]."""
    ones = np.ones(len(sequences.items), np.float32)
    by_user = scipy.sparse.csr_array((ones, (sequences.users, sequences.items)), (len(sequences), items))
    pairs = scipy.sparse.coo_array(by_user.T @ by_user)  # [V, V]
    apart = pairs.row != pairs.col
    row, column, together = pairs.row[apart], pairs.col[apart], pairs.data[apart]
    total = np.bincount(row, weights=together, minlength=items)
    information = np.log(together * together.sum() / (total[row] * total[column]))
    ppmi = scipy.sparse.csr_array((np.maximum(information, 0).astype(np.float32), (row, column)), (items, items))
    left, strength, _ = svds(ppmi, k=min(COMPONENTS, items - 1), rng=0)
    return left * np.sqrt(strength), total > 0


def _mean_cosine_to_rest(sequences: Sequences, vectors: np.ndarray, present: np.ndarray) -> np.ndarray:
    """Returns each item's mean cosine to the other items of its sequence, from vectors [V, n] of those present [V]."""
    unit = unit_vectors(vectors) * present[:, None]
    known = present[sequences.items]
    ones = np.ones(len(known), np.float32)
    membership = scipy.sparse.csr_array((ones, (sequences.users, sequences.items)), (len(sequences), len(present)))
    sums = membership @ unit  # [U, n]
    cosines = np.einsum("ij,ij->i", sums[sequences.users], unit[sequences.items])
    others = np.bincount(sequences.users, weights=known, minlength=len(sequences))[sequences.users] - known
    mean = (cosines - known) / np.maximum(others, 1)
    # An interaction with nothing to compare it with ranks in the middle.
    judged = known & (others > 0)
    return np.where(judged, mean, np.median(mean[judged]))
