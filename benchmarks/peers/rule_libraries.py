"""The rules that other libraries have, each called as its own documentation says.

`benchmarks.rules` runs this file in an environment in which the library is installed, so nothing of iadsr may be
imported here:

    python rule_libraries.py LIBRARY LOG.parquet QUESTIONS.json ANSWERS.npz

The log has the columns `row`, `user_id`, `item_id`, `timestamp` (microseconds, no zone) and `value`, in the order in
which iadsr reads it. `row` numbers its rows. QUESTIONS is an object of questions, each a list of the rule's name and
its parameters. ANSWERS holds the numbers of the rows that stay, for each question that the library can answer.
"""

import json
import sys
import tempfile
import warnings
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

MODULES = {
    "replay": ("replay",),
    "recbole": ("recbole",),
    "rectools": ("rectools", "pytorch_lightning"),
    "polars": ("polars",),
    "duckdb": ("duckdb",),
}
"""The modules that each library needs."""

KEYS = ["user_id", "item_id", "timestamp"]


def _replay(path):
    import pandas as pd
    from replay.preprocessing import filters

    log = pd.read_parquet(path)
    by_user = {"query_column": "user_id"}

    def kept(*chosen):
        left = log
        for each in chosen:
            left = each.transform(left)
        return left["row"].to_numpy()

    def number(count, first):
        return kept(filters.NumInteractionsFilter(count, first=first, item_column="item_id", **by_user))

    def in_a_row():
        # The filter leaves the order of equal times to chance. Here the order of rows takes the place of time.
        ranked = log.assign(timestamp=log["row"])
        return filters.ConsecutiveDuplicatesFilter(**by_user).transform(ranked)["row"].to_numpy()

    return {
        "core": lambda users, items: kept(
            filters.InteractionEntriesFilter(min_inter_per_user=users, min_inter_per_item=items)
        ),
        "users": lambda users: kept(filters.MinCountFilter(users, groupby_column="user_id")),
        "items": lambda items: kept(filters.MinCountFilter(items, groupby_column="item_id")),
        "value": lambda low: kept(filters.LowRatingFilter(low, rating_column="value")),
        "period": lambda after, before: kept(filters.TimePeriodFilter(_time(after), _time(before))),
        "days": lambda days: kept(filters.GlobalDaysFilter(days, first=False)),
        "first": lambda count: number(count, True),
        "last": lambda count: number(count, False),
        "in a row": in_a_row,
    }


def _recbole(path):
    import logging

    import pandas as pd
    import torch
    from recbole.config import Config
    from recbole.data import create_dataset

    logging.disable(logging.CRITICAL)
    torch.load = lambda *args, load=torch.load, **options: load(*args, **{"weights_only": False, **options})
    log = pd.read_parquet(path)
    log["timestamp"] = log["timestamp"].astype("datetime64[us]").astype("int64") / 1e6
    folder = tempfile.mkdtemp()
    types = {"user_id": "token", "item_id": "token", "timestamp": "float", "value": "float", "row": "float"}
    Path(folder, "log").mkdir()
    log[list(types)].rename(columns=lambda name: f"{name}:{types[name]}").to_csv(
        Path(folder, "log", "log.inter"), sep="\t", index=False
    )

    def kept(**settings):
        columns = {"inter": list(types)}
        fields = {"USER_ID_FIELD": "user_id", "ITEM_ID_FIELD": "item_id", "TIME_FIELD": "timestamp"}
        values = {"data_path": folder, "load_col": columns, "use_gpu": False, **fields, **settings}
        data = create_dataset(Config(model="Pop", dataset="log", config_dict=values))
        return data.inter_feat["row"].to_numpy().astype(np.int64)

    def at_least(count):
        return f"[{count},inf)"

    def seconds(text):
        return (_time(text) - datetime(1970, 1, 1)).total_seconds()

    return {
        "core": lambda users, items: kept(
            user_inter_num_interval=at_least(users), item_inter_num_interval=at_least(items)
        ),
        "interval": lambda users, items: kept(
            user_inter_num_interval=f"[{users[0]},{users[1]}]", item_inter_num_interval=f"[{items[0]},{items[1]}]"
        ),
        "users": lambda users: kept(user_inter_num_interval=at_least(users)),
        "items": lambda items: kept(item_inter_num_interval=at_least(items)),
        "value": lambda low: kept(val_interval={"value": at_least(low)}),
        "period": lambda after, before: kept(val_interval={"timestamp": f"[{seconds(after)},{seconds(before)})"}),
        "pair": lambda: kept(rm_dup_inter="first"),
        "value, core": lambda low, users, items: kept(
            val_interval={"value": at_least(low)},
            user_inter_num_interval=at_least(users),
            item_inter_num_interval=at_least(items),
        ),
    }


def _rectools(path):
    import pandas as pd
    from rectools import Columns
    from rectools.dataset import Dataset
    from rectools.models.nn.transformers.sasrec import SASRecDataPreparator

    log = pd.read_parquet(path).rename(columns={"timestamp": Columns.Datetime}).assign(**{Columns.Weight: 1.0})

    def prepared(users, count):
        # One more than the length is kept, which is the last target.
        preparator = SASRecDataPreparator(
            session_max_len=count - 1, batch_size=1, dataloader_num_workers=0, train_min_user_interactions=users
        )
        preparator.extra_cols = ["row"]
        preparator.process_dataset_train(Dataset.construct(log, keep_extra_cols=True))
        return preparator.train_dataset.interactions.df["row"].to_numpy()

    return {"users, last": prepared}


def _polars(path):
    import polars as pl

    log = pl.read_parquet(path)
    item, time = pl.col("item_id"), pl.col("timestamp")

    def kept(*conditions, left=log):
        before = -1
        while len(left) != before:  # until nothing changes, which matters for counts alone
            before = len(left)
            for condition in conditions:
                left = left.filter(condition)
        return left["row"].to_numpy()

    def once(frame, columns):
        return frame.unique(columns, keep="first", maintain_order=True)["row"].to_numpy()

    def of_users(count):
        return pl.len().over("user_id") >= count

    def of_items(count):
        return pl.len().over("item_id") >= count

    def interval(users, items):
        below = log.filter((pl.len().over("user_id") <= users[1]) & (pl.len().over("item_id") <= items[1]))
        return kept(of_users(users[0]), of_items(items[0]), left=below)

    def ends(count, which):
        return getattr(log.group_by("user_id", maintain_order=True), which)(count)["row"].to_numpy()

    def again(seconds):
        gap = (time - time.shift()).over("user_id", "item_id")
        return log.filter(gap.is_null() | (gap > timedelta(seconds=seconds)))["row"].to_numpy()

    return {
        "core": lambda users, items: kept(of_users(users), of_items(items)),
        "interval": interval,
        "users": lambda users: kept(of_users(users)),
        "items": lambda items: kept(of_items(items)),
        "value": lambda low: kept(pl.col("value") >= low),
        "value, core": lambda low, users, items: kept(pl.col("value") >= low, of_users(users), of_items(items)),
        "period": lambda after, before: kept((time >= _time(after)) & (time < _time(before))),
        "days": lambda days: kept(time > log["timestamp"].max() - timedelta(days=days)),
        "first": lambda count: ends(count, "head"),
        "last": lambda count: ends(count, "tail"),
        "users, last": lambda users, count: np.intersect1d(kept(of_users(users)), ends(count, "tail")),
        "in a row": lambda: log.filter(item.ne_missing(item.shift().over("user_id")))["row"].to_numpy(),
        "copy": lambda: once(log, KEYS),
        "pair": lambda: once(log, KEYS[:2]),
        "again": again,
        "burst": lambda count: log.filter(pl.len().over("user_id", "timestamp") < count)["row"].to_numpy(),
    }


def _duckdb(path):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"create table log as from '{path}'")

    def kept(condition="true", qualify="", source="log"):
        query = f"select row from {source} where {condition} {qualify and f'qualify {qualify}'}"
        return connection.execute(query).fetchnumpy()["row"]

    def core(users, items, low=None, most=None):
        connection.execute("create or replace temp table kept as from log")
        if low is not None:
            connection.execute(f"delete from kept where not value >= {low}")
        for column, number in zip(("user_id", "item_id"), most or (None, None), strict=True):
            if number is None:
                continue
            many = f"select {column} from log group by {column} having count(*) > {number}"
            connection.execute(f"delete from kept where {column} in ({many})")
        deleted = 1
        while deleted:
            deleted = 0
            for column, least in (("user_id", users), ("item_id", items)):
                few = f"select {column} from kept group by {column} having count(*) < {least}"
                deleted += connection.execute(f"delete from kept where {column} in ({few})").fetchone()[0]
        return kept(source="kept")

    def ranked(columns, order):
        return f"row_number() over (partition by {columns} order by {order})"

    ascending, descending = "timestamp, item_id, row", "timestamp desc, item_id desc, row desc"
    by_user, by_item = "count(*) over (partition by user_id)", "count(*) over (partition by item_id)"
    before = f"lag(item_id) over (partition by user_id order by {ascending})"
    gap = "timestamp - lag(timestamp) over (partition by user_id, item_id order by timestamp, row)"
    return {
        "core": core,
        "interval": lambda users, items: core(users[0], items[0], most=(users[1], items[1])),
        "users": lambda users: kept(qualify=f"{by_user} >= {users}"),
        "items": lambda items: kept(qualify=f"{by_item} >= {items}"),
        "value": lambda low: kept(f"value >= {low}"),
        "value, core": lambda low, users, items: core(users, items, low),
        "period": lambda after, before: kept(f"timestamp >= '{after}' and timestamp < '{before}'"),
        "days": lambda days: kept(f"timestamp > (select max(timestamp) from log) - interval {days} days"),
        "first": lambda count: kept(qualify=f"{ranked('user_id', ascending)} <= {count}"),
        "last": lambda count: kept(qualify=f"{ranked('user_id', descending)} <= {count}"),
        "users, last": lambda users, count: kept(
            qualify=f"{by_user} >= {users} and {ranked('user_id', descending)} <= {count}"
        ),
        "in a row": lambda: kept(qualify=f"item_id is distinct from {before}"),
        "copy": lambda: kept(qualify=f"{ranked(', '.join(KEYS), 'row')} = 1"),
        "pair": lambda: kept(qualify=f"{ranked('user_id, item_id', ascending)} = 1"),
        "again": lambda seconds: kept(qualify=f"coalesce({gap} > interval {seconds} seconds, true)"),
        "burst": lambda count: kept(qualify=f"count(*) over (partition by user_id, timestamp) < {count}"),
    }


def _time(text):
    return datetime.fromisoformat(text)


LIBRARIES = {"replay": _replay, "recbole": _recbole, "rectools": _rectools, "polars": _polars, "duckdb": _duckdb}


def answer(library, log, questions):
    """Returns the rows that stay, by question; without the questions that the library has no rule for."""
    rules = LIBRARIES[library](log)
    return {name: rules[rule](*values) for name, (rule, *values) in questions.items() if rule in rules}


if __name__ == "__main__":
    _library, _log, _questions, _answers = sys.argv[1:]
    sys.argv = sys.argv[:1]  # RecBole reads the command line too
    warnings.simplefilter("ignore")  # of what the libraries themselves call
    np.savez(_answers, **answer(_library, _log, json.loads(Path(_questions).read_text(encoding="utf-8"))))
