"""Measures what it brings to know the behaviours of a log of views, carts and purchases.

    python -m benchmarks.behaviours

The log is a synthetic funnel. Users view items of their tastes, one or several times, put some of them into the cart
and buy some of those. Now and then they try what others view at that time, and buy some of that too. They also view
items by mistake: such a stray is drawn from the same, is viewed as often as any other item, and hardly ever put into
the cart. iadsr is trained and cleans the log three times: without the column of behaviours, with it, and with an order
of behaviours too.
"""

import argparse
import dataclasses
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from sklearn.metrics import roc_auc_score

from iadsr.models.core.item_vectors import ItemVectors
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.models.noise.share import NoiseShare
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.item_counts import ItemCounts, sort_counts
from iadsr.transforms.judge.drop_plan import plan_drops
from iadsr.transforms.judge.judge_shard import JudgedShard, judge_shard
from iadsr.transforms.judge.policy import Policy
from iadsr.transforms.judge.scored_shard import ScoredShard
from iadsr.transforms.judge.tally import tally_shard
from iadsr.transforms.read.ordering import order_interactions
from iadsr.transforms.rules.rule_log import count_open_items
from iadsr.transforms.rules.ruled_shard import RuledShard

STREAM = 0xF0FE
"""Part of every seed. Neither training nor the other benchmarks use it."""
ORDER = ("view", "cart", "buy")
CATEGORIES = 40
DIMENSION = 48
"""Of the text vectors."""
TASTES = 3
"""Categories that a user likes."""
JOURNEYS = (8, 32)
"""Fewest and most journeys of a user."""
STRAYS = 0.12
"""Share of the journeys that are strays."""
TRIES = 0.08
"""Share of the journeys that are genuine, and follow what others view at that time."""
ON = {False: (0.25, 0.5), True: (0.02, 0.5)}
"""How probably a view leads to a cart and a cart to a purchase: for a genuine journey, and for a stray."""
VIEWS = 0.6
"""How probably a view of the item is the last one."""
AGAIN = 0.1
"""How probably a purchase is repeated later."""

DAY = 86_400

VARIANTS = {
    "the column ignored": InteractionColumns(),
    "journeys": InteractionColumns(behaviour="event"),
    "journeys, and the order": InteractionColumns(behaviour="event", behaviours=ORDER),
}


@dataclasses.dataclass(frozen=True)
class Funnel:
    """A log of views, carts and purchases, and the texts of its items."""

    table: pa.Table
    """user_id, item_id, timestamp, event, and whether the row is of a stray."""
    semantic: np.ndarray
    """float32 [V, DIMENSION]."""


def make_funnel(users: int, items: int, seed: int) -> Funnel:
    """Draws a funnel.

    Args:
        users: Number of users.
        items: Number of items.
        seed: Another seed gives another log.
    """
    generator = np.random.default_rng([STREAM, seed])
    category = generator.integers(0, CATEGORIES, items)
    popularity = generator.permutation(1 / np.arange(1, items + 1) ** 0.7)
    centres = generator.normal(size=(CATEGORIES, DIMENSION))
    semantic = centres[category] + 1.2 * generator.normal(size=(items, DIMENSION))

    lengths = generator.integers(JOURNEYS[0], JOURNEYS[1] + 1, users)
    user = np.repeat(np.arange(users), lengths)
    start = generator.integers(0, 200 * DAY, len(user))
    tastes = generator.random((users, CATEGORIES)).argpartition(TASTES, axis=1)[:, :TASTES]
    liked = tastes[user, generator.integers(0, TASTES, len(user))]
    item = np.zeros(len(user), np.int64)
    for number in range(CATEGORIES):
        chosen, own = np.flatnonzero(liked == number), np.flatnonzero(category == number)
        item[chosen] = generator.choice(own, len(chosen), p=popularity[own] / popularity[own].sum())
    kind = generator.random(len(user))
    stray, other = kind < STRAYS, kind < STRAYS + TRIES
    # What others view at that time, which is as popular as the rest.
    by_time = np.argsort(start, kind="stable")
    place = np.empty_like(by_time)
    place[by_time] = np.arange(len(by_time))
    near = by_time[(place[other] + generator.integers(-500, 501, int(other.sum()))).clip(0, len(user) - 1)]
    item[other] = item[near]
    stray &= ~(tastes[user] == category[item][:, None]).any(1)

    to_cart, to_buy = np.array([ON[False], ON[True]]).T[:, stray.astype(int)]
    carts = generator.random(len(user)) < to_cart
    buys = carts & (generator.random(len(user)) < to_buy)
    again = buys & (generator.random(len(user)) < AGAIN)
    views = generator.geometric(VIEWS, len(user))
    seen = np.repeat(np.arange(len(user)), views)
    # Later views are minutes or days after the first one, and the purchase is after all of them.
    nth = np.arange(len(seen)) - np.repeat(np.cumsum(views) - views, views)
    gap = np.exp(generator.uniform(np.log(60), np.log(3 * DAY), len(seen))) * (nth > 0)
    time = start[seen] + gap
    last = np.maximum.reduceat(time, np.cumsum(views) - views)
    parts = [
        (seen, time, "view"),
        (np.flatnonzero(carts), last[carts] + 30, "cart"),
        (np.flatnonzero(buys), last[buys] + 300, "buy"),
        (np.flatnonzero(again), last[again] + generator.integers(5, 30, int(again.sum())) * DAY, "buy"),
    ]
    journey = np.concatenate([rows for rows, *_ in parts])
    table = pa.table(
        {
            "user_id": user[journey],
            "item_id": item[journey],
            "timestamp": np.concatenate([times for _, times, _ in parts]).astype(np.int64) + 1_700_000_000,
            "event": np.concatenate([np.full(len(rows), kind) for rows, _, kind in parts]),
            "stray": stray[journey],
        }
    )
    return Funnel(table, semantic.astype(np.float32))


COLUMNS = (
    "AUROC of the detector",
    "by the odds",
    "by the odds, views",
    "share found",
    "strays dropped",
    "genuine dropped",
    "strays of weight 0",
    "genuine of weight 0",
    "genuine carts and purchases of weight 0",
)
"""What `describe` tells."""


class Cleaned(NamedTuple):
    """What iadsr makes of a funnel."""

    judged: JudgedShard
    """What is decided."""
    detected: np.ndarray
    """float32 [rows], the noise probabilities that the detector gives."""
    share: str
    """The share of noise that is found."""


def clean(funnel: Funnel, columns: InteractionColumns, policy: Policy, seed: int) -> Cleaned:
    """Trains a detector on the log, and cleans the log with it."""
    ruled = RuledShard.untouched(order_interactions(funnel.table, columns))
    evidence = ruled.evidence_alone()
    semantic = funnel.semantic[evidence.item_ids.to_numpy()]
    sequences, has_text = evidence.sequences(columns), np.ones(len(semantic), bool)
    result = train_model(
        sequences, semantic, has_text, IADSRConfig(semantic_dimension=DIMENSION), TrainingConfig(seed=seed)
    )
    vectors: ItemVectors = result.vectors
    scores = score_sequences(result.model, sequences, vectors).spread(ruled.evidence).at(ruled.witnesses)
    everything = np.ones(len(scores.scored), bool)
    scored = ScoredShard(0, ruled, scores, everything, everything, {})
    counts = ItemCounts.of(sort_counts(count_open_items(ruled)))
    plan = plan_drops(tally_shard(scored, columns, counts), policy, result.model.noise_reference.numpy())
    share = plan.share
    found = f"{share.estimate:.1%}" if isinstance(share, NoiseShare) else "not known"
    return Cleaned(judge_shard(scored, plan, policy), scores.noise_probability, found)


def describe(cleaned: Cleaned) -> list[str]:
    """Returns the cells of one row: how well strays are told from the rest, what is dropped, and what weighs 0."""
    judged, detected, share = cleaned
    table, scores = judged.ruled.ordered.table, judged.scores
    assert scores is not None
    stray, view = table["stray"].to_numpy(), table["event"].to_numpy() == "view"
    noise = scores.noise_probability
    dropped, weightless = ~judged.decisions.keep, judged.weight == 0
    return [
        f"{roc_auc_score(stray, detected):.3f}",
        f"{roc_auc_score(stray, noise):.3f}",
        f"{roc_auc_score(stray[view], noise[view]):.3f}",
        share,
        f"{dropped[stray].mean():.1%}",
        f"{dropped[~stray].mean():.2%}",
        f"{weightless[stray].mean():.1%}",
        f"{weightless[~stray].mean():.1%}",
        f"{weightless[~stray & ~view].mean():.1%}",
    ]


def main() -> None:
    """Runs the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.behaviours", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--users", type=int, default=3000)
    parser.add_argument("--items", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=1, help="number of repetitions")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for seed in range(options.seeds):
        funnel = make_funnel(options.users, options.items, seed)
        stray = funnel.table["stray"].to_numpy()
        print(f"Seed {seed}: {len(stray):,} rows, of which {stray.mean():.1%} are of strays.\n")
        print(f"| | {' | '.join(COLUMNS)} |")
        print("| --- |" + " --- |" * len(COLUMNS))
        for name, columns in VARIANTS.items():
            cells = describe(clean(funnel, columns, Policy(), seed))
            print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
