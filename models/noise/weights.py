"""Turns probabilities of noise into training weights.

Instead of dropping suspicious interactions, a recommender can give them less weight. `clean` writes such a weight for
every interaction.
"""

import numpy as np
import numpy.typing as npt

DEFAULT_STRENGTH = 4.0
"""1 + what one interaction of noise costs a recommender, in units of what one genuine interaction is worth to it.

Noise costs more than a genuine interaction is worth. Dropping a genuine interaction only loses the steps to it and from
it, but noise teaches steps that nobody takes.
"""


def weigh_interactions(
    stray_probability: npt.NDArray[np.float32],
    scored: npt.NDArray[np.bool_],
    strength: float = DEFAULT_STRENGTH,
    minimum: float = 0.0,
) -> npt.NDArray[np.float32]:
    """Weighs each interaction by its expected worth minus its expected cost.

    A stray is noise by itself, such as an accidental click. An interaction that is one with probability p is worth 1
    with probability 1 - p, and costs strength - 1 with probability p. So its weight is 1 - strength * p. The weight is
    0 from p = 1 / strength upwards. Such an interaction is best left out altogether: as a next item to learn, and from
    the history of other next items.

    Args:
        stray_probability: float32 [n], as the model gives them.
        scored: bool [n], false on interactions that could not be judged. Their weight is 1.
        strength: How fast the weight falls, at least 0. With 0, all weights are 1.
        minimum: No weight is lower, in [0, 1).

    Returns:
        float32 [n] in [0, 1].
    """
    worth = np.maximum(1 - np.float32(strength) * stray_probability, np.float32(minimum))
    return np.where(scored, worth, 1).astype(np.float32)
