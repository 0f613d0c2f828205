"""Compares ways of cleaning a log by what a recommender gains from each, on items that no cleaning has touched."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .downstream_recommender import DownstreamConfig, train_recommender
from .held_out import HeldOutLog

VALIDATION_USERS = 10_000
"""So many users at most decide which epoch is kept; all are tested."""


@dataclass(frozen=True)
class Treatment:
    """A log as one way of cleaning leaves it.

    Attributes:
        name: What it is called.
        keep: bool [N], false on interactions that are gone.
        weight: float32 [N], how much an interaction counts as a next item.
    """

    name: str
    keep: npt.NDArray[np.bool_]
    weight: npt.NDArray[np.float32]

    @classmethod
    def dropping(cls, name: str, dropped: npt.NDArray[np.bool_]) -> "Treatment":
        """Removes what is `dropped`, bool [N], and lets the rest count in full."""
        return cls(name, ~dropped, np.ones(len(dropped), np.float32))


def compare_treatments(
    held_out: HeldOutLog,
    treatments: list[Treatment],
    config: DownstreamConfig,
    seeds: list[int],
    report: Callable[[float, str], None] | None = None,
) -> npt.NDArray[np.float64]:
    """Trains a recommender on each treatment with each seed and measures it on the test items.

    Every recommender is also given the history it predicts from as its treatment leaves it: a log that is cleaned is
    cleaned when it is served from, too. Validation and test items are those of the log in every treatment.

    Args:
        held_out: The log.
        treatments: What to train on; `keep` and `weight` count in the training part only.
        config: The recommender.
        seeds: One training of each treatment for each.
        report: Called with the share of the work that is done and a remark.

    Returns:
        HR and NDCG in the order of METRICS, of each training and tested user: float [treatments, seeds, U, 6].
    """
    log, training = held_out.log, held_out.training
    generator = np.random.default_rng(0)
    deciding = np.sort(generator.permutation(held_out.tested)[:VALIDATION_USERS])
    catalogue = int(log.items.max()) + 1
    # A treatment that changes nothing has the recommender of the log as it is.
    first_like = [
        next(
            place
            for place, other in enumerate(treatments)
            if np.array_equal(other.keep[training], treatment.keep[training])
            and np.array_equal(other.weight[training], treatment.weight[training])
        )
        for treatment in treatments
    ]
    runs = [(nth, place) for nth in range(len(seeds)) for place in sorted(set(first_like))]
    figures = np.zeros((len(treatments), len(seeds), len(held_out.tested), 6))
    for number, (nth, place) in enumerate(runs):
        treatment = treatments[place]
        kept = training & treatment.keep

        def tell(epoch: int, done: float, number: int = number, name: str = treatment.name) -> None:
            if report:
                share = (epoch - 1 + done) / config.epochs
                report((number + share) / len(runs), f"{name}, epoch {epoch}")

        recommender = train_recommender(
            log.restrict(kept),
            treatment.weight[kept],
            catalogue,
            held_out.task(treatment.keep, 1, deciding),
            config,
            seeds[nth],
            tell,
        )
        figures[place, nth] = recommender.measure(held_out.task(treatment.keep, 0, held_out.tested))
    return figures[first_like]
