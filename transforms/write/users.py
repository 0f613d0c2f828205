"""Describes each user of a shard: how much, how fast, how coherent, and what was decided about the user as a whole."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.columns import InteractionColumns
from ..contract.output_schemas import USER_FIELDS
from ..judge.judge_shard import JudgedShard
from ..read.ordering import OrderedShard
from ..rules.rule_log import LogRules

VARIED_USER_COLUMNS = ("user_id", "first", "last", "span_seconds", "interactions_per_active_day", "coherence")
"""Columns whose values are seldom equal."""

WHOLE_USER_RULES = ("nobody", "machine", "shared_list")
"""Rules that are about a user, not about single interactions."""

RUN, SHARED_ACCOUNT = "noise:run", "shared_account"
"""Reason of interactions that look like those of somebody else, and of users who have several of them."""

MIN_RUN = 3
"""A user of whom so many interactions are dropped as RUN is named as a shared account."""

_VERDICTS = pa.array(["kept", "dropped", "suspect", "shortened"])


def describe_users(judged: JudgedShard, columns: InteractionColumns, log_rules: LogRules) -> pa.Table:
    """Returns one row for each user of a shard: `user_id`, `first`, `last` and USER_FIELDS.

    - `span_seconds`, `active_days` and `interactions_per_active_day` are null if the log's times are only an order.
    - `share_of_repeats` is the share of interactions with an item that the user has interacted with before.
    - `coherence` is the mean of 1 - noise probability over what was judged; null if nothing was.
    - `verdict` is `dropped` if nothing is left of the user but what is held out, `suspect` if a rule that only counts
      names the user, `shortened`, or `kept`.
    - `reason` is the rule that is about the user as a whole; or SHARED_ACCOUNT, see `shared_accounts`.
    """
    ordered, keep = judged.ruled.ordered, judged.decisions.keep
    begins, ends = ordered.offsets[:-1], ordered.offsets[1:]
    length = ends - begins
    kept = np.diff(np.append(0, np.cumsum(keep))[ordered.offsets])
    times = ordered.table[columns.timestamp]
    reason, suspect = _whole_user_rules(judged, log_rules.rules.codes)
    of_others = judged.decisions.have(RUN)
    shared = shared_accounts(ordered.users[of_others], len(length), counted_items(ordered, of_others))
    reason = pc.coalesce(reason, pc.if_else(pa.array(shared), SHARED_ACCOUNT, pa.scalar(None, pa.string())))
    judged_kept = np.diff(np.append(0, np.cumsum(keep & ~judged.ruled.held_out))[ordered.offsets])
    verdict = _VERDICTS.take(pa.array(np.select([judged_kept == 0, suspect, kept < length], [1, 2, 3], 0)))
    span, days = _spans(judged, log_rules)
    values = (
        length,
        kept,
        span,
        days,
        None if days is None else length / days,
        1 - _distinct_items(ordered.users, ordered.items, len(length)) / length,
        _coherence(judged),
    )
    fields = [pa.field("first", times.type), pa.field("last", times.type), *USER_FIELDS]
    described = [
        pa.nulls(len(length), field.type) if column is None else pa.array(column, field.type, from_pandas=True)
        for field, column in zip(USER_FIELDS[: len(values)], values, strict=True)
    ]
    ids = ordered.user_ids(columns)
    arrays = [ids, times.take(pa.array(begins)), times.take(pa.array(ends - 1)), *described, verdict, reason]
    return pa.table(arrays, schema=pa.schema([pa.field("user_id", ids.type), *fields]))


def _whole_user_rules(judged: JudgedShard, codes: tuple[str, ...]) -> tuple[pa.Array, np.ndarray]:
    """Returns the first rule that is about each user, string [users], and whether it only counts, bool [users]."""
    ruled = judged.ruled
    first, suspect = np.full(len(ruled.ordered.offsets) - 1, -1), np.zeros(len(ruled.ordered.offsets) - 1, bool)
    users = ruled.ordered.users
    for number, code in enumerate(codes):
        if code in WHOLE_USER_RULES and (found := ruled.found_by(number)).any():
            named = np.unique(users[found])
            named = named[first[named] < 0]
            first[named] = number
            suspect[named] = np.isin(named, users[found & (ruled.taken != number)])
    return pa.array(codes, pa.string()).take(pa.array(first, mask=first < 0)), suspect


def counted_items(ordered: OrderedShard, rows: np.ndarray) -> np.ndarray | None:
    """Returns the items of some rows, bool [rows], if the steps of a journey are to count once; else None."""
    return None if ordered.behaviours is None else ordered.items[rows]


def shared_accounts(users: np.ndarray, count: int, items: np.ndarray | None = None) -> np.ndarray:
    """Returns of which users at least MIN_RUN interactions are dropped as RUN, bool [count].

    Args:
        users: The user of each such interaction, by number.
        count: Number of users.
        items: The item of each, so that each item of a user counts once. None: all interactions count.
    """
    number = np.bincount(users, minlength=count) if items is None else _distinct_items(users, items, count)
    return number >= MIN_RUN


def _spans(judged: JudgedShard, log_rules: LogRules) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns seconds from first to last and the days with an interaction, each [users]; None if they are not known."""
    ordered, clock = judged.ruled.ordered, log_rules.clock
    if clock.resolution is None:
        return None, None
    seconds, day = clock.seconds(ordered.time), clock.days(ordered.time)
    begins, ends = ordered.offsets[:-1], ordered.offsets[1:]
    new_day = np.append(True, np.diff(day) != 0)
    new_day[begins] = True
    return seconds[ends - 1] - seconds[begins], np.add.reduceat(new_day.astype(np.int64), begins)


def _distinct_items(users: np.ndarray, items: np.ndarray, count: int) -> np.ndarray:
    """Returns the number of different items of each user, int64 [users]."""
    width = int(items.max(initial=0)) + 1
    pairs = np.sort(users * width + items)
    new = np.append(True, pairs[1:] != pairs[:-1])[: len(pairs)]
    return np.bincount(pairs[new] // width, minlength=count)


def _coherence(judged: JudgedShard) -> np.ndarray | None:
    if judged.scores is None:
        return None
    users, scored = judged.ruled.ordered.users, judged.scores.scored
    count = len(judged.ruled.ordered.offsets) - 1
    judged_of_user = np.bincount(users[scored], minlength=count)
    noise = np.bincount(users[scored], judged.scores.noise_probability[scored].astype(np.float64), minlength=count)
    with np.errstate(invalid="ignore"):
        return 1 - noise / judged_of_user


def stands_out(users: pa.Table, count: int) -> list[dict]:
    """Returns the users who are named as a whole, those with most interactions first, at most `count`."""
    named = users.filter(pc.is_valid(users["reason"]))
    order = pc.sort_indices(named, sort_keys=[("interactions", "descending"), ("user_id", "ascending")])
    return named.take(order[:count]).to_pylist()
