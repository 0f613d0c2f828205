"""The rule of LISRec (Xin et al., 2025, arXiv 2505.22130): keep the largest cluster of a user's items, by text.

A user's items are the nodes of a graph. Two of them have an edge if the cosine of their texts is above a threshold.
Items outside the largest connected component are dropped. The rest keeps its order.

Simplified: the texts are embedded by the encoder that all scorers here share. LISRec uses M_Filter, a T5 tuned to
predict next items from text. In LISRec's favour the embeddings are centred, as for `text_similarity`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from iadsr.models.core.sequences import Sequences
from iadsr.models.vectors.co_occurrence import unit_vectors

from .simple import centre

THRESHOLD = 0.3
"""The threshold of the paper, for its own embeddings."""


@dataclass(frozen=True)
class _Graph:
    """A user's items that have a text, and how their graph falls apart as the threshold rises."""

    interactions: np.ndarray
    """int64 [m], interactions of the log."""
    node: np.ndarray
    """int64 [m], the distinct item of each, in order of first occurrence. Interactions with one item stay together."""
    counts: np.ndarray
    """int64 [n], interactions of each node."""
    tree: np.ndarray
    """[n - 1, 4], single linkage by 1 - cosine: which components join, in falling order of similarity."""


def lisrec_rule(
    sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray, threshold: float = THRESHOLD
) -> np.ndarray:
    """Scores 1 if the rule drops an interaction, and 0 if it keeps it or cannot judge it.

    Of components of equal size, the one that holds the earliest item is kept.

    Args:
        sequences: The log.
        semantic: Text embeddings [V, D].
        has_semantic: bool [V].
        threshold: Cosine above which two items are joined.
    """
    score = np.zeros(len(sequences.items))
    for graph in _graphs(sequences, semantic, has_semantic):
        component = fcluster(graph.tree, np.nextafter(1 - threshold, 0), "distance")[graph.node]  # [m], from 1
        size = np.bincount(component)
        score[graph.interactions] = component != component[size[component].argmax()]
    return score


def lisrec_graded(sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray) -> np.ndarray:
    """Scores by how early an interaction leaves as the threshold rises. Those it cannot judge rank in the middle.

    At the lowest threshold, a user's items are one component. As the threshold rises, the component splits and the
    smaller part leaves; of equal parts, the one without the earliest item. So the rule, which says only yes or no,
    becomes a grade.

    Args:
        sequences: The log.
        semantic: Text embeddings [V, D].
        has_semantic: bool [V].

    Returns:
        float64 [N], minus the threshold at which the interaction leaves; -1 if it never does.
    """
    leaving = np.full(len(sequences.items), np.nan)
    for graph in _graphs(sequences, semantic, has_semantic):
        leaving[graph.interactions] = _leaving_thresholds(graph)[graph.node]
    return -np.where(np.isnan(leaving), np.nanmedian(leaving), leaving)


def _graphs(sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray) -> Iterator[_Graph]:
    """Yields the graph of each user with two or more different items that have a text."""
    vectors = centre(semantic, has_semantic).astype(np.float32)
    unit = unit_vectors(vectors)
    for start, stop in zip(sequences.offsets[:-1], sequences.offsets[1:], strict=True):
        where = start + np.flatnonzero(has_semantic[sequences.items[start:stop]])
        items, first, inverse = np.unique(sequences.items[where], return_index=True, return_inverse=True)
        if len(items) < 2:
            continue
        order = np.argsort(first)
        node = np.argsort(order)[inverse]
        nodes = unit[items[order]]
        distance = np.maximum(1 - nodes @ nodes.T, 0)
        np.fill_diagonal(distance, 0)
        yield _Graph(where, node, np.bincount(node), linkage(squareform(distance, checks=False), "single"))


def _leaving_thresholds(graph: _Graph) -> np.ndarray:
    """Returns the threshold at which each node [n] leaves the largest component."""
    nodes = len(graph.counts)
    parts = graph.tree[:, :2].astype(int)
    size = np.concatenate([graph.counts, np.zeros(nodes - 1, int)])
    earliest = np.arange(2 * nodes - 1)
    for joined, (left, right) in enumerate(parts, start=nodes):
        size[joined] = size[left] + size[right]
        earliest[joined] = min(earliest[left], earliest[right])
    leaving = np.ones(nodes)
    largest = 2 * nodes - 2
    while largest >= nodes:
        smaller, larger = sorted(parts[largest - nodes], key=lambda part: (size[part], -earliest[part]))
        leaving[_nodes_of(smaller, parts, nodes)] = 1 - graph.tree[largest - nodes, 2]
        largest = larger
    return leaving


def _nodes_of(component: int, parts: np.ndarray, nodes: int) -> list[int]:
    found, unfolded = [], [component]
    while unfolded:
        part = unfolded.pop()
        if part < nodes:
            found.append(part)
        else:
            unfolded.extend(parts[part - nodes])
    return found
