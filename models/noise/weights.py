"""Turns noise probabilities into training weights.

Instead of dropping suspicious interactions, a recommender can give them less weight. `clean` writes such a weight for
every interaction.
"""

import numpy as np
import numpy.typing as npt

NOISE_COST = 3.0
"""What one interaction of noise costs a recommender, in units of what one genuine interaction is worth to it.

Noise costs more than a genuine interaction is worth. Dropping a genuine interaction only loses the steps to it and from
it, but noise teaches steps that nobody takes.
"""


def weigh_interactions(
    noise_probability: npt.NDArray[np.float32], scored: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Weighs each interaction by its expected worth minus its expected cost.

    An interaction with noise probability p is worth 1 with probability 1 - p, and costs NOISE_COST with probability p.
    So its weight is 1 - (1 + NOISE_COST) p. The weight is 0 from p = 1 / (1 + NOISE_COST) upwards. Such an interaction
    is best left out altogether: as a next item to learn, and from the history of other next items.

    Args:
        noise_probability: float32 [n], calibrated for this log.
        scored: bool [n], false on interactions that could not be judged. Their weight is 1.

    Returns:
        float32 [n] in [0, 1].
    """
    worth = np.maximum(1 - (1 + NOISE_COST) * noise_probability, 0)
    return np.where(scored, worth, 1).astype(np.float32)
