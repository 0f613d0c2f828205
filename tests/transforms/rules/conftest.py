"""Small logs for the tests of rules."""

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pytest

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.read.clock import Clock, time_facts
from iadsr.transforms.read.ordering import OrderedShard, order_interactions
from iadsr.transforms.rules.rule import RuleInput

START = 1_700_000_000
COLUMNS = InteractionColumns()

MakeShard = Callable[..., RuleInput]


BEHAVIOURS = InteractionColumns(behaviour="event", behaviours=("view", "cart", "buy"))
"""Of a log with a column `event`."""


def ordered_log(
    rows: list[tuple], *more: str, start: int = START, columns: InteractionColumns = COLUMNS
) -> tuple[OrderedShard, Clock]:
    """Returns a log of (user, item, seconds since the start, ...), in order, and its clock."""
    names = ("user_id", "item_id", "timestamp", *more)
    values = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
    values["timestamp"] = pa.array(np.array(values["timestamp"]) + start)
    table = pa.table(values)
    return order_interactions(table, columns), Clock.of(time_facts(table, columns))


@pytest.fixture
def shard() -> MakeShard:
    """Makes what a rule sees of a log, all of it open unless `taken` names rows in order."""

    def make(
        rows: list[tuple],
        *more: str,
        taken: tuple[int, ...] = (),
        start: int = START,
        columns: InteractionColumns = COLUMNS,
    ) -> RuleInput:
        ordered, clock = ordered_log(rows, *more, start=start, columns=columns)
        open_rows = np.ones(len(rows), bool)
        open_rows[list(taken)] = False
        return RuleInput(ordered, columns, clock, open_rows)

    return make


def found(rule, view: RuleInput) -> list[int]:
    """Returns the rows, in order, that a rule finds."""
    marks = rule.find(view)
    assert marks.dtype == bool
    assert marks.shape == view.open.shape
    assert not (marks & ~view.open).any()
    return np.flatnonzero(marks).tolist()
