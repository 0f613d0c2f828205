"""What the detector says of interactions. It needs no torch, so that scores can be read and judged without it."""

from dataclasses import dataclass

import numpy as np

from .features import SIMILARITIES


@dataclass(frozen=True)
class Scores:
    """What the model says of N interactions, in the order they came."""

    noise_probability: np.ndarray
    """float32 [N] in [0, 1], high = noise; 0 where not scored."""
    similarities: np.ndarray
    """float32 [N, 3] in the order of SIMILARITIES; NaN where not defined (no text, not scored)."""
    scored: np.ndarray
    """bool [N]. False where the model cannot judge: the item is unknown to both modalities, or the sequence holds
    nothing else to compare it with."""
    sign: np.ndarray
    """int8 [N], index in SIGNS: the kind of noise that it looks like; or, if that is a single item, the similarity that
    is lowest, compared with what is usual for genuine interactions. 0 where none is defined: there the head judged from
    the collaborative side alone."""
    stray_probability: np.ndarray
    """float32 [N] in [0, 1]: the probability that it is noise by itself, and not one of a run. Weights follow from it.
    0 where not scored."""

    @property
    def names_kind(self) -> np.ndarray:
        """Which interactions look like another kind of noise than a single item, bool [N]."""
        return self.sign >= len(SIMILARITIES)

    @classmethod
    def none(cls, number: int) -> "Scores":
        """Returns the scores of interactions of which none is scored yet."""
        return cls(
            np.zeros(number, np.float32),
            np.full((number, len(SIMILARITIES)), np.nan, np.float32),
            np.zeros(number, bool),
            np.zeros(number, np.int8),
            np.zeros(number, np.float32),
        )

    def put(self, places: np.ndarray, scores: "Scores") -> None:
        """Overwrites the scores at some places: bool [N], or their numbers, int64 [n]."""
        for name, values in vars(scores).items():
            getattr(self, name)[places] = values

    def spread(self, places: np.ndarray) -> "Scores":
        """Returns the scores of a longer log that holds these N interactions where `places` (bool) is true.

        The others are not scored.
        """
        longer = Scores.none(len(places))
        longer.put(places, self)
        return longer

    def at(self, places: np.ndarray) -> "Scores":
        """Returns the scores at some places: bool [N], or their numbers, int64 [n]."""
        if places.dtype == bool and places.all():
            return self  # mostly no rule has taken anything
        return Scores(*(values[places] for values in vars(self).values()))
