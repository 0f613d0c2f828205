"""Every scorer that the tables compare, by the name that it has on the command line."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import Scores, score_sequences
from iadsr.models.noise.recalibration import Recalibration, recalibrate
from iadsr.models.noise.share import NoiseShare, NoShare
from iadsr.models.training.expected_kinds import count_log
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig

from .datasets import Dataset
from .peers.hsd import fit_hsd
from .peers.lisrec import lisrec_graded, lisrec_rule
from .peers.simple import co_occurrence, co_occurrence_of_others, mean_rank, rarity, repeats, text_similarity
from .peers.steam import fit_steam

Fit = Callable[[Dataset, int], Callable[[], np.ndarray]]
"""Trains on a log, by a seed. Returns a function that scores the log's interactions, float [N], high = noise."""


@dataclass(frozen=True)
class Scorer:
    """One way to find noise."""

    title: str
    """What tables call it."""
    fit: Fit
    probability: bool = False
    """Whether its scores are probabilities of noise, so that their calibration can be measured."""


def _fit_iadsr(config: IADSRConfig) -> Fit:
    def fit(dataset: Dataset, seed: int) -> Callable[[], np.ndarray]:
        training = TrainingConfig(seed=seed)
        result = train_model(dataset.sequences, dataset.semantic, dataset.has_semantic, config, training)

        def score() -> np.ndarray:
            scores = score_sequences(result.model, dataset.sequences, result.vectors)
            return recalibrated(result.model, dataset.sequences, scores)

        return score

    return fit


def recalibrated(model: IADSR, sequences: Sequences, scores: Scores) -> np.ndarray:
    """Turns the model's probabilities into those of this log with its own share of noise, as `iadsr clean` does."""
    _, recalibration = find_share(model, sequences, scores)
    return recalibration.apply(scores.noise_probability) if recalibration else scores.noise_probability


def find_share(model: IADSR, sequences: Sequences, scores: Scores) -> tuple[NoiseShare | NoShare, Recalibration | None]:
    """Estimates a log's share of noise, and how to recalibrate probabilities to it, as `iadsr clean` does."""
    return recalibrate(model.noise_reference.numpy(), count_log(sequences, scores))


def _untrained(score: Callable[[Dataset], np.ndarray]) -> Fit:
    return lambda dataset, seed: lambda: score(dataset)


def _text(data: Dataset) -> np.ndarray:
    return text_similarity(data.sequences, data.semantic, data.has_semantic)


SCORERS = {
    "iadsr": Scorer("iadsr", _fit_iadsr(IADSRConfig()), probability=True),
    "iadsr-sasrec": Scorer("iadsr, SASRec", _fit_iadsr(IADSRConfig(backbone="sasrec")), probability=True),
    "iadsr-caser": Scorer("iadsr, Caser", _fit_iadsr(IADSRConfig(backbone="caser")), probability=True),
    "iadsr-paper": Scorer("IADSR as in the paper", _fit_iadsr(IADSRConfig(head="paper")), probability=True),
    "steam": Scorer(
        "STEAM, deletions", lambda data, seed: fit_steam(data.sequences, len(data.semantic), seed), probability=True
    ),
    "hsd": Scorer("HSD, both signals", lambda data, seed: fit_hsd(data.sequences, len(data.semantic), seed)),
    "lisrec": Scorer(
        "LISRec, graded", _untrained(lambda data: lisrec_graded(data.sequences, data.semantic, data.has_semantic))
    ),
    "lisrec-rule": Scorer(
        "LISRec, the rule", _untrained(lambda data: lisrec_rule(data.sequences, data.semantic, data.has_semantic))
    ),
    "mean-rank": Scorer(
        "text and co-occurrence, mean rank",
        _untrained(lambda data: mean_rank(_text(data), co_occurrence_of_others(data.sequences))),
    ),
    "text": Scorer("text similarity", _untrained(_text)),
    "co-occurrence": Scorer("co-occurrence", _untrained(lambda data: co_occurrence(data.sequences))),
    "co-occurrence-of-others": Scorer(
        "co-occurrence of others", _untrained(lambda data: co_occurrence_of_others(data.sequences))
    ),
    "repeats": Scorer("repeats by the user", _untrained(lambda data: repeats(data.sequences))),
    "rarity": Scorer("rarity", _untrained(lambda data: rarity(data.sequences))),
}
"""In the order of the tables."""
OURS, PAPER = "iadsr", "iadsr-paper"
DEFAULT = tuple(name for name in SCORERS if name not in ("iadsr-sasrec", "iadsr-caser"))
"""All but the other backbones, which would take as long again."""
