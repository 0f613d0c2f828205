"""The pieces of work that `throughput` measures for the rules: ours, and the same rules in Polars and in DuckDB."""

import os
import sys
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from .throughput_work import COLUMNS, ROW_GROUP, Paths, synthetic_log

AFTER = 1_610_000_000
"""Interactions from this second on stay: nine tenths of the log."""
MIN_USER, MIN_ITEM = 5, 5
REPEAT_SECONDS = 60
PACE = ((60, 59), (120, 178.5), (300, 747.5), (1_000, 3_996))
"""So many interactions of a user in a row within so many seconds are a machine's."""
DOUBLED, SOON_AGAIN, MACHINES = 0.05, 0.05, 0.02
"""Shares of the log that are copies, the same item seconds later, and the work of machines."""
MACHINE_LENGTH = 500


def log_path(paths: Paths) -> str:
    """Returns the path of the log with faults."""
    return os.path.join(paths.work, f"faulty-{paths.rows}-{paths.items}.parquet")


def prepare(paths: Paths) -> None:
    """Makes the log with faults if it is missing."""
    os.makedirs(paths.work, exist_ok=True)
    if not os.path.exists(log_path(paths)):
        pq.write_table(faulty_log(paths.rows, paths.items), log_path(paths), row_group_size=ROW_GROUP)


def faulty_log(rows: int, items: int, seed: int = 0) -> pa.Table:
    """Draws a log that has something for each rule: copies, quick repeats, machines, and users and items with few.

    Returns:
        `user_id`, `item_id`, `timestamp`, in order of time.
    """
    generator = np.random.default_rng([seed, 1])
    doubled, again, machine = (int(rows * share) for share in (DOUBLED, SOON_AGAIN, MACHINES))
    genuine = synthetic_log(rows - doubled - again - machine, items, seed)
    time = genuine["timestamp"].to_numpy()
    copies = genuine.take(generator.integers(len(genuine), size=doubled))
    repeated = generator.integers(len(genuine), size=again)
    soon = genuine.take(repeated).set_column(
        2, "timestamp", pa.array(time[repeated] + generator.integers(1, REPEAT_SECONDS, again))
    )
    number = np.arange(machine)
    machines = pa.table(
        {
            "user_id": pc.binary_join_element_wise("machine", pa.array(number // MACHINE_LENGTH).cast("string"), "-"),
            "item_id": genuine["item_id"].take(generator.integers(len(genuine), size=machine)),
            "timestamp": pa.array(1_650_000_000 + number + generator.integers(0, 2, machine)),
        },
        schema=genuine.schema,
    )
    return pa.concat_tables([genuine, copies, soon, machines]).sort_by("timestamp").combine_chunks()


def rules_with_beam(paths: Paths) -> None:
    """Runs `iadsr clean --rules-only` with its default rules, and with repeats, window and core."""
    _clean(
        paths,
        ["--repeats", "drop", "--repeat-seconds", str(REPEAT_SECONDS), "--after", "2021-01-07T06:13:20"],
        ["--min-user-interactions", str(MIN_USER), "--min-item-interactions", str(MIN_ITEM)],
    )


def default_rules_with_beam(paths: Paths) -> None:
    """Runs `iadsr clean --rules-only` with its defaults."""
    _clean(paths)


def no_rules_with_beam(paths: Paths) -> None:
    """Runs `iadsr clean --rules-only` without any rule: it reads, orders and writes."""
    from iadsr.pipeline.commands import clean
    from iadsr.transforms.rules.rule_set import RuleSet

    with mock.patch.object(clean, "make_rules", return_value=RuleSet(())):
        _clean(paths)


def _clean(paths: Paths, *options: list[str]) -> None:
    from iadsr.pipeline.cli.app import main

    sys.argv = ["iadsr", "clean", "--rules-only", "--interactions", log_path(paths), "--output", paths.output]
    sys.argv += [word for words in options for word in words]
    main()


def rules_in_polars(paths: Paths) -> None:
    """Applies the same rules with Polars, and writes what stays by user and time."""
    import polars as pl

    os.makedirs(paths.output)
    user, item, time = COLUMNS.user, COLUMNS.item, COLUMNS.timestamp
    log = pl.scan_parquet(log_path(paths)).unique([user, item, time]).sort(user, time, item).collect()
    moments = log.lazy().unique([user, time], keep="first", maintain_order=True)
    quick = pl.any_horizontal(
        (pl.col(time) - pl.col(time).shift(count - 1) <= seconds) & (pl.col(user) == pl.col(user).shift(count - 1))
        for count, seconds in PACE
    )
    machines = moments.filter(quick).select(pl.col(user).unique())
    soon = (pl.col(time).diff() <= REPEAT_SECONDS) & (pl.col(user) == pl.col(user).shift())
    soon = (soon & (pl.col(item) == pl.col(item).shift())).fill_null(False)
    people = log.lazy().join(machines, on=user, how="anti").sort(user, item, time).filter(~soon)
    log = people.filter(pl.col(time) >= AFTER).sort(user, time, item).collect()
    before = -1
    while before != len(log):
        before = len(log)
        log = log.filter(pl.len().over(item) >= MIN_ITEM).filter(pl.len().over(user) >= MIN_USER)
    log.write_parquet(os.path.join(paths.output, "kept.parquet"))


def rules_in_duckdb(paths: Paths) -> None:
    """Applies the same rules with DuckDB, and writes what stays by user and time."""
    import duckdb

    os.makedirs(paths.output)
    user, item, time = COLUMNS.user, COLUMNS.item, COLUMNS.timestamp
    run = duckdb.connect(config={"threads": 1}).execute
    run("set enable_progress_bar = false")
    quick = " or ".join(f"{time} - lag({time}, {count - 1}) over by_time <= {seconds}" for count, seconds in PACE)
    run(
        f"""create temp table events as
            select distinct {user}, {item}, {time} from '{log_path(paths)}'"""
    )
    run(
        f"""create temp table machines as select distinct {user} from (
            select {user}, {quick} as quick from (select distinct {user}, {time} from events)
            window by_time as (partition by {user} order by {time})
        ) where quick"""
    )
    run(
        f"""create temp table log as select * from events where {user} not in (from machines) qualify coalesce(
            {time} - lag({time}) over (partition by {user}, {item} order by {time}) > {REPEAT_SECONDS}, true
        )"""
    )
    run(f"delete from log where {time} < {AFTER}")
    changed = True
    while changed:
        changed = False
        for column, least in ((item, MIN_ITEM), (user, MIN_USER)):
            few = f"select {column} from log group by {column} having count(*) < {least}"
            changed |= run(f"delete from log where {column} in ({few})").fetchone()[0] > 0
    file = os.path.join(paths.output, "kept.parquet")
    run(f"copy (from log order by {user}, {time}, {item}) to '{file}' (format parquet)")
