"""Splits a log into what may be trained on and what is held out, user by user."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.errors import InputError
from ..core.sequences import Sequences
from .downstream_recommender import NextItemTask

HELD_OUT = 2
"""Interactions at the end of each user that are kept for validation and test."""


MIN_USERS = 50
"""With fewer users to test on, an interval says nothing."""


REPEATING = 0.01
"""A log in which at least this share of the interactions repeats an item of the same user is one where people come
back for the same thing: there, what a user has can be recommended again."""


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
        if len(tested) < MIN_USERS:
            raise InputError(
                "the log is too small to evaluate on",
                code="EVALUATE-SMALL",
                found=f"{len(tested)} users with more than {HELD_OUT} interactions",
                expected=f"{MIN_USERS} at least: the last {HELD_OUT} of each are kept back, the rest is learnt from",
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
