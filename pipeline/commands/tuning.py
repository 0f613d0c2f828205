"""What a tuning found: figures for each policy that was tried, and plain words on what was chosen."""

import dataclasses
from collections.abc import Iterator

from ...models.evaluation.bootstrap import Estimate, judge
from ...transforms.read.input_plan import SkippedFile
from .evaluation import MAIN_METRIC, percent
from .messages import counted, describe_left_out
from .results import Result, Table

RAW, RULES = "raw", "rules alone"
"""Names of the log as it is, and of the log as the rules leave it."""


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A policy that was tried."""

    name: str
    """What it does."""
    left: float
    """Share of the training part that is left to train on."""
    screened: float
    """NDCG@10 on the validation items after one training."""
    validation: float | None
    """The same, mean over all trainings; None if it was trained on only once."""


@dataclasses.dataclass(frozen=True, repr=False)
class Tuning(Result):
    """What came out of a tuning."""

    output: str
    """File with the policy."""
    recommender: str
    """The recommender that was trained."""
    users: int
    """Users with held-out items."""
    users_of_log: int
    """All users of the log."""
    users_sampled: int
    """Users that were looked at."""
    seeds: int
    """Trainings on the log as it is and on each finalist."""
    candidates: tuple[Candidate, ...]
    """The log as it is, and each policy."""
    chosen: str
    """Name of the candidate that was chosen."""
    lift: Estimate
    """Relative difference in NDCG@10 of the chosen one to the log as it is, on the test items."""
    rejected: dict[str, int]
    """Rows of the log that could not be used, by reason."""
    skipped: tuple[SkippedFile, ...] = ()
    """Files of the log that were left out."""
    notes: tuple[str, ...] = ()
    """What looks wrong or may surprise in how the log was read."""

    def __str__(self) -> str:
        """Says what was tried, what was chosen, and what it is worth."""
        whole = self.users_sampled == self.users_of_log
        sample = "" if whole else f", of a sample of {self.users_sampled:,} of {counted(self.users_of_log, 'user')}"
        width = max(len(candidate.name) for candidate in self.candidates)
        rows = [f"{row[0]:<{width}}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in self._rows()]
        return "\n".join(
            [
                f"{self.recommender}, {counted(self.users, 'user')} with held-out items{sample}.",
                *describe_left_out(self.skipped, self.rejected, self.notes),
                f"{MAIN_METRIC} on each user's last item but one, which chooses:",
                "",
                *rows,
                "",
                *self._verdict(),
            ]
        )

    def tables(self) -> Iterator[Table]:
        """Returns the figures of each candidate."""
        yield self._rows()

    def _rows(self) -> list[list[str]]:
        heading = ["", "left", "1 training", counted(self.seeds, "training")]
        return [
            heading,
            *(
                [
                    each.name,
                    f"{each.left:.1%}",
                    f"{each.screened:.4f}",
                    "" if each.validation is None else f"{each.validation:.4f}",
                ]
                for each in self.candidates
            ),
        ]

    def _verdict(self) -> list[str]:
        if self.chosen == RAW:
            ruled = any(each.name == RULES for each in self.candidates)
            return [
                f"Nothing is better than the log as it is with some certainty: {self.output} drops and weighs nothing."
                + " The rules are not part of it, and still apply." * ruled
            ]
        over = f"users and {self.seeds} trainings" if self.seeds > 1 else "users only"
        return [
            f"Chosen: {self.chosen}.",
            f"On each user's last item, which chose nothing: {MAIN_METRIC} {percent(self.lift, signed=True)} against "
            f"the log as it is (95% over {over}): {judge(self.lift)}.",
            f"Policy: {self.output}",
        ]
