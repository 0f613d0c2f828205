"""Splits a log into a training part and held-out items.

The last item of each user is the test item, the one before it the validation item. Everything earlier is for training.
This is the usual leave-one-out protocol for sequential recommenders. `comparison.py` trains on the first part and tests
on the second.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.errors import InputError
from ..core.sequences import Sequences
from .downstream_recommender import NextItemTask

HELD_OUT = 2
"""Number of interactions held out at the end of each user: one for validation, one for the test."""

MIN_USERS = 50
"""Minimum number of users to test on. With fewer, intervals are too wide to say anything."""

MIN_REPEATS = 0.01
"""Minimum share of interactions that repeat an item of the same user, for the log to be one of repeated purchases. In
such a log, users may be recommended items that they already have."""


@dataclass(frozen=True)
class HeldOutLog:
    """A log whose users' last two interactions are held out: one for validation, and the last one for the test.

    Users with fewer than three interactions are not tested. All their interactions are for training.
    """

    log: Sequences
    """The whole log, with N interactions."""
    from_end: npt.NDArray[np.int64]
    """int64 [N], the position of each interaction counted from the end of its user. 1 is the last one, the test item.
    For users who are not tested, counting starts at 3."""
    tested: npt.NDArray[np.int64]
    """int64 [U], the users with a test item."""
    repeats: float
    """Share of the training interactions whose item the user had before."""

    @classmethod
    def split(cls, log: Sequences) -> "HeldOutLog":
        """Splits a log.

        Raises:
            InputError: There are too few users to test on, or there is only one item.
        """
        lengths = log.lengths
        tested = np.flatnonzero(lengths > HELD_OUT)
        if len(tested) < MIN_USERS:
            raise InputError(
                "the log is too small to evaluate on",
                code="EVALUATE-SMALL",
                found=f"{len(tested)} users with more than {HELD_OUT} interactions",
                expected=f"at least {MIN_USERS}: the last {HELD_OUT} of each are held out, the rest are for training",
                fix="give a larger log",
            )
        if (log.items == log.items[0]).all():
            raise InputError(
                "the log holds nothing to choose from",
                code="EVALUATE-ITEMS",
                found="1 item",
                expected="at least 2 items, so that a recommender has something to rank",
                fix="give a larger log",
            )
        from_end = np.repeat(log.offsets[1:], lengths) - np.arange(len(log.items))
        from_end[np.repeat(lengths <= HELD_OUT, lengths)] += HELD_OUT
        training = log.restrict(from_end > HELD_OUT)
        pairs = training.users * (int(log.items.max()) + 1) + training.items
        return cls(log, from_end, tested, 1 - len(np.unique(pairs)) / max(len(pairs), 1))

    @property
    def training(self) -> npt.NDArray[np.bool_]:
        """Which interactions are for training, bool [N]."""
        return self.from_end > HELD_OUT

    @property
    def recommends_seen(self) -> bool:
        """Whether users may be recommended items that they already have."""
        return self.repeats >= MIN_REPEATS

    def task(self, keep: npt.NDArray[np.bool_], steps_before_last: int, users: npt.NDArray[np.int64]) -> NextItemTask:
        """Returns the task of predicting a held-out item of some users from their cleaned histories.

        Which items a user has already does not depend on the cleaning: a shop knows what it has sold, noise or not.

        Args:
            keep: bool [N], false on interactions that the cleaning drops. It applies to the training part only.
            steps_before_last: Which item to predict: 0 is the test item, 1 is the validation item. The histories end
                before it.
            users: int64 [u], the users, who must all be tested ones.
        """
        before = self.from_end > steps_before_last + 1
        history = self._restrict(users, before & (keep | ~self.training))
        seen = None if self.recommends_seen else self._restrict(users, before)
        return NextItemTask(history, self.log.items[self.log.offsets[users + 1] - 1 - steps_before_last], seen)

    def _restrict(self, users: npt.NDArray[np.int64], keep: npt.NDArray[np.bool_]) -> Sequences:
        """Returns the sequences of some users, int64 [u] in rising order, with only the interactions in `keep`, [N]."""
        chosen = np.zeros(len(self.log), bool)
        chosen[users] = True
        kept = keep & np.repeat(chosen, self.log.lengths)
        return Sequences.from_lengths(
            self.log.items[kept], np.bincount(self.log.users[kept], minlength=len(self.log))[users]
        )
