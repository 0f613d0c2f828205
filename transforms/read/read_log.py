"""Reads a whole log into memory, as training and evaluation need it."""

from collections import Counter
from typing import NamedTuple

import pyarrow as pa

from ...models.core.errors import InputError
from .behaviours import check_behaviours, count_behaviours
from .clock import Clock, TimeFacts, merge_facts, time_facts
from .input_plan import InputPlan
from .log_source import LogSource
from .ordering import OrderedShard, order_interactions
from .read_splits import read_split
from .rejected_rows import list_reasons, refuse_too_many
from .time_checks import refuse_wrong_order


class WholeLog(NamedTuple):
    """A log in memory."""

    ordered: OrderedShard
    """Its usable rows, in order."""
    rejected: Counter[str]
    """Number of rejected rows by reason."""
    clock: Clock
    """What its times mean."""


def read_log(log: LogSource, plan: InputPlan, also: tuple[str, ...] = ()) -> WholeLog:
    """Reads the required columns of a log and those in `also`, and orders its rows.

    Args:
        log: The log.
        plan: What `plan_input` says of it.
        also: Names of more columns to read.

    Raises:
        InputError: A file cannot be read, more rows are rejected than the log's `max_rejected` allows, no row can be
            used, the times give no order, or the column of behaviours holds none.
    """
    fields = [plan.schema.field(name) for name in dict.fromkeys((*log.columns.required, *also))]
    # The ids of a whole log may take more than 2 GiB, which one array of Arrow's plain strings cannot hold.
    schema = pa.schema([field.with_type(pa.large_string()) if field.type == pa.string() else field for field in fields])
    tables: list[pa.Table] = []
    rejected: Counter[str] = Counter()
    times: list[TimeFacts] = []
    behaviours: list[dict[str, int]] = []
    for split in plan.splits:
        valid, refused = read_split(split, log.columns, schema, log.on_bad_file)
        tables.append(valid)
        times.append(time_facts(valid, log.columns))
        behaviours.append(count_behaviours(valid, log.columns))
        rejected.update(refused["reason"].to_pylist())
    refuse_too_many(rejected, plan.rows, log.max_rejected)
    table = pa.concat_tables(tables)
    if not len(table):
        raise InputError(
            "No row of the log can be used",
            code="TRAIN-EMPTY",
            found=list_reasons(rejected),
            fix="check that the right columns are named",
        )
    clock = Clock.of(merge_facts(times))
    refuse_wrong_order(clock, log.columns)
    check_behaviours(behaviours, log.columns)
    return WholeLog(order_interactions(table, log.columns), rejected, clock)
