"""How much an interaction should count when a recommender is trained on the log."""

import numpy as np
import numpy.typing as npt

HARM = 3.0
"""What an interaction of noise costs a recommender, in units of what a genuine one is worth to it.

Noise in a history teaches steps that nobody takes, which costs more than the steps that go with a genuine interaction:
with a fifth of Amazon Beauty inserted noise, SASRec gains the more the lower the line, down to a probability of 0.25.
"""


def weigh_interactions(
    noise_probability: npt.NDArray[np.float32], scored: npt.NDArray[np.bool_]
) -> npt.NDArray[np.float32]:
    """Weighs interactions by what they can be expected to bring, less what they can be expected to cost.

    With noise probability p an interaction is worth 1 with probability 1 - p and costs HARM with probability p, so the
    weight is 1 - (1 + HARM) p. From p = 1 / (1 + HARM) on it is 0, and the interaction is best left out altogether: as
    a next item to be learnt, and from the history of others.

    Args:
        noise_probability: float32 [n], calibrated for the log at hand.
        scored: bool [n]; what could not be judged counts in full.

    Returns:
        float32 [n] in [0, 1].
    """
    worth = np.maximum(1 - (1 + HARM) * noise_probability, 0)
    return np.where(scored, worth, 1).astype(np.float32)
