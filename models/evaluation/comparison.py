"""Compares ways of cleaning a log.

For each way of cleaning (a treatment), a recommender is trained on the cleaned log and tested on held-out items, which
no treatment changes. A treatment is better if its recommender ranks these items higher. `evaluate` prints the result.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits

from ..core.in_order import in_order
from .downstream_recommender import DownstreamConfig, train_recommender
from .held_out import HeldOutLog
from .ranking import METRICS

MAX_VALIDATION_USERS = 10_000
"""Maximum number of users whose validation items decide which epoch is kept. The test always uses all users."""


@dataclass(frozen=True)
class Treatment:
    """One way of cleaning a log: what it keeps, and how much that counts."""

    name: str
    """Its name, which progress messages and results use."""
    keep: npt.NDArray[np.bool_]
    """bool [N], false on interactions that are dropped."""
    weight: npt.NDArray[np.float32]
    """float32 [N], how much each interaction counts as a next item in training."""

    @classmethod
    def dropping(cls, name: str, dropped: npt.NDArray[np.bool_]) -> "Treatment":
        """Drops the interactions in `dropped`, bool [N], and gives all others a weight of 1."""
        return cls(name, ~dropped, np.ones(len(dropped), np.float32))


class Figures(NamedTuple):
    """How recommenders do that were trained on each treatment with each seed.

    Both arrays are float64 [treatments, seeds, U, 6]: HR and NDCG in the order of METRICS for each of the U tested
    users.
    """

    validation: npt.NDArray[np.float64]
    """On the validation item of each user. These items also decide which epoch is kept."""
    test: npt.NDArray[np.float64]
    """On the test item of each user, which decides nothing."""


def compare_treatments(
    held_out: HeldOutLog,
    treatments: list[Treatment],
    config: DownstreamConfig,
    seeds: list[int],
    report: Callable[[float, str], None] | None = None,
    workers: int = 1,
) -> Figures:
    """Trains a recommender on each treatment with each seed, and measures it on the held-out items.

    The treatment also applies to the histories that the recommender predicts from. Whoever cleans a log for training
    also cleans the histories in production. Validation and test items are the same for all treatments.

    Args:
        held_out: The log.
        treatments: The treatments to compare. Their `keep` and `weight` apply to the training part of the log only.
        config: The recommender.
        seeds: Each treatment is trained once with each seed.
        report: Called with the share of the work that is done, and a remark.
        workers: Recommenders that are trained at the same time, each in a thread. The figures do not depend on it.
    """
    threads = torch.get_num_threads()
    # The last bits of a result depend on the number of threads in an operation.
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            return _compare(held_out, treatments, config, seeds, report, workers)
    finally:
        torch.set_num_threads(threads)


def _compare(
    held_out: HeldOutLog,
    treatments: list[Treatment],
    config: DownstreamConfig,
    seeds: list[int],
    report: Callable[[float, str], None] | None,
    workers: int,
) -> Figures:
    log, training = held_out.log, held_out.training
    generator = np.random.default_rng(0)
    validation_users = np.sort(generator.permutation(held_out.tested)[:MAX_VALIDATION_USERS])
    item_count = int(log.items.max()) + 1
    # Equal treatments are trained only once, for example a log and its cleaned version from which nothing was dropped.
    first_equal = [
        next(
            index
            for index, other in enumerate(treatments)
            if np.array_equal(other.keep[training], treatment.keep[training])
            and np.array_equal(other.weight[training], treatment.weight[training])
        )
        for treatment in treatments
    ]
    runs = [(seed_index, index) for seed_index in range(len(seeds)) for index in sorted(set(first_equal))]
    shape = (len(treatments), len(seeds), len(held_out.tested), len(METRICS))
    figures = Figures(np.zeros(shape), np.zeros(shape))
    done, lock = np.zeros(len(runs)), threading.Lock()

    def run(number: int) -> None:
        seed_index, index = runs[number]
        treatment = treatments[index]
        kept = training & treatment.keep

        def report_epoch(epoch: int, part: float) -> None:
            with lock:
                done[number] = (epoch - 1 + part) / config.epochs
                if report:
                    report(float(done.sum()) / len(runs), f"{treatment.name}, epoch {epoch}")

        recommender = train_recommender(
            log.restrict(kept),
            treatment.weight[kept],
            item_count,
            held_out.task(treatment.keep, 1, validation_users),
            config,
            seeds[seed_index],
            report_epoch,
        )
        for steps, part in ((1, figures.validation), (0, figures.test)):
            part[index, seed_index] = recommender.measure(held_out.task(treatment.keep, steps, held_out.tested))

    for _ in in_order(run, range(len(runs)), workers):
        pass
    return Figures(figures.validation[first_equal], figures.test[first_equal])
