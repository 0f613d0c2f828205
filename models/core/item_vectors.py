"""A catalogue's item vectors as they lie on disk and travel: without torch, which whoever joins them can do without."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class ItemVectors:
    """Vectors of a catalogue of V items.

    Attributes:
        collaborative: float32 [V, IADSRConfig.collaborative_width]: E_c, and by fold of users the two vectors learned
            from the users of all other folds; a row is meaningless where `has_collaborative` is false.
        semantic: float32 [V, D], may be memory-mapped or float16; meaningless where `has_semantic` is false.
        has_collaborative: bool [V].
        has_semantic: bool [V].
    """

    collaborative: np.ndarray
    semantic: np.ndarray
    has_collaborative: np.ndarray
    has_semantic: np.ndarray
