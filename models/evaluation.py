"""Compares ways of cleaning a log by what a recommender gains from each, on items that no cleaning has touched."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .downstream import DownstreamConfig, NextItemTask, train_recommender
from .errors import InputError
from .sequences import Sequences

HELD_OUT = 2
"""Interactions at the end of each user that are kept for validation and test."""
FEWEST_USERS = 50
"""With fewer users to test on, an interval says nothing."""
VALIDATION_USERS = 10_000
"""So many users at most decide which epoch is kept; all are tested."""
REPEATING = 0.01
"""A log in which at least this share of the interactions repeats an item of the same user is one where people come
back for the same thing: there, what a user has can be recommended again."""


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


@dataclass(frozen=True)
class HeldOutLog:
    """A log whose users' last two interactions are kept back: one to choose the epoch by, the last one to test.

    Users with fewer than three are trained on in full and not tested.

    Attributes:
        log: All of it.
        left: int64 [N], interactions that the user still has from here on, this one included: 1 is the last one. A
            user who is not tested counts from three.
        tested: int64 [U], users with a test item.
        repeats: Share of the interactions that are trained on whose item the user had before.
    """

    log: Sequences
    left: npt.NDArray[np.int64]
    tested: npt.NDArray[np.int64]
    repeats: float

    @classmethod
    def split(cls, log: Sequences) -> "HeldOutLog":
        """Splits a log.

        Raises:
            InputError: Too few users are left to test on.
        """
        lengths = log.lengths
        tested = np.flatnonzero(lengths > HELD_OUT)
        if len(tested) < FEWEST_USERS:
            raise InputError(
                "the log is too small to evaluate on",
                code="EVALUATE-SMALL",
                found=f"{len(tested)} users with more than {HELD_OUT} interactions",
                expected=f"{FEWEST_USERS} at least: the last {HELD_OUT} of each are kept back, the rest is learnt from",
                fix="give a larger log",
            )
        if (log.items == log.items[0]).all():
            raise InputError(
                "the log holds nothing to choose from",
                code="EVALUATE-ITEMS",
                found="1 item",
                expected="2 at least, for a recommender to rank",
                fix="give a larger log",
            )
        left = np.repeat(log.offsets[1:], lengths) - np.arange(len(log.items))
        left[np.repeat(lengths <= HELD_OUT, lengths)] += HELD_OUT
        training = log.restrict(left > HELD_OUT)
        pairs = training.users * (int(log.items.max()) + 1) + training.items
        return cls(log, left, tested, 1 - len(np.unique(pairs)) / max(len(pairs), 1))

    @property
    def training(self) -> npt.NDArray[np.bool_]:
        """Which interactions are trained on, bool [N]."""
        return self.left > HELD_OUT

    @property
    def recommends_seen(self) -> bool:
        """Whether an item that the user already has can be recommended."""
        return self.repeats >= REPEATING

    def task(self, keep: npt.NDArray[np.bool_], steps_before_last: int, users: npt.NDArray[np.int64]) -> NextItemTask:
        """Asks for the item that many steps before users' last, 0 for the test item, from what `keep` leaves before it.

        What a user has been seen with does not depend on the cleaning: a shop knows what it has sold, noise or not.
        """
        before = self.left > steps_before_last + 1
        history = self._of(users, before & (keep | ~self.training))
        seen = None if self.recommends_seen else self._of(users, before)
        return NextItemTask(history, self.log.items[self.log.offsets[users + 1] - 1 - steps_before_last], seen)

    def _of(self, users: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]) -> Sequences:
        chosen = np.zeros(len(self.log), bool)
        chosen[users] = True
        kept = keep & np.repeat(chosen, self.log.lengths)
        return Sequences.from_lengths(
            self.log.items[kept], np.bincount(self.log.users[kept], minlength=len(self.log))[users]
        )


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
