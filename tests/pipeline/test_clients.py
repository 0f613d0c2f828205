"""Exports in the hands of the libraries that they are for: `make test-clients` installs these and runs this.

Each library runs the README of its export. What it holds then is compared with the log, which is ordered and split here
once more, and with the weights in `interactions/`.
"""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from iadsr.pipeline import clean, export

ENVIRONMENTS = os.environ.get("IADSR_CLIENTS")

pytestmark = pytest.mark.skipif(ENVIRONMENTS is None, reason="no libraries that read exports: run make test-clients")

SCRIPTS = Path(__file__).with_name("clients")
USERS, ITEMS = 60, 40
ODD_IDS = {"user-007": "null", "item-00": "NA", "item-01": '"quoted', "item-02": "ta\tb", "item-03": ' a, "b" '}
SHORT = {"short-1": [5], "short-3": [5, 6, 7], "tie": [9] * 8}

Interaction = tuple[str, float]


class Truth:
    """What an export should hold: for each user (item, weight) of each part of the split, in order."""

    def __init__(self, log: pa.Table, run: Path):
        # The order of the log, by its rules: time, then item id, then row.
        rows = log.sort_by(
            [("user_id", "ascending"), ("timestamp", "ascending"), ("item_id", "ascending"), ("row", "ascending")]
        )
        decided = pq.read_table(run / "interactions")
        decided = decided.take(pc.sort_indices(decided, [("row", "ascending")]))
        weights = dict(zip(decided["row"].to_pylist(), decided["weight"].to_pylist(), strict=True))
        self.train: dict[str, list[Interaction]] = {}
        self.validation: dict[str, str] = {}
        self.test: dict[str, str] = {}
        sequences: dict[str, list[Interaction]] = {}
        for user, item, row in zip(*(rows[name].to_pylist() for name in ("user_id", "item_id", "row")), strict=True):
            sequences.setdefault(user, []).append((item, weights[row]))
        for user, sequence in sequences.items():
            training = sequence
            if len(sequence) > 2:
                *training, (self.validation[user], _), (self.test[user], _) = sequence
            self.train[user] = [(item, weight) for item, weight in training if weight > 0]

    def without(self, users: set[str], item: str | None = None) -> "Truth":
        """Returns the truth without some users, and without an item in training."""
        other = object.__new__(Truth)
        for name in ("train", "validation", "test"):
            setattr(other, name, {user: what for user, what in getattr(self, name).items() if user not in users})
        other.train = {user: [pair for pair in pairs if pair[0] != item] for user, pairs in other.train.items()}
        return other

    def history(self, user: str) -> list[str]:
        return [item for item, _ in self.train[user]]


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> tuple[Truth, Path]:
    """A cleaned log with equal times, ids that are hard to write, users with hardly anything, and repeated items."""
    root = tmp_path_factory.mktemp("clients")
    generator = np.random.default_rng(0)
    rows = [
        (f"user-{user:03d}", f"item-{generator.integers(ITEMS):02d}", int(generator.integers(30)))
        for user in range(USERS)
        for _ in range(generator.integers(6, 20))
    ]
    rows += [(user, f"item-{item:02d}", 5) for user, items in SHORT.items() for item in items]
    users, items, days = zip(*(rows[place] for place in generator.permutation(len(rows))), strict=True)
    log = pa.table(
        {
            "user_id": [ODD_IDS.get(user, user) for user in users],
            "item_id": [ODD_IDS.get(item, item) for item in items],
            "timestamp": pa.array(np.array(days) * 86_400 + 1_700_000_001),
            "row": np.arange(len(rows)),
        }
    )
    (root / "log").mkdir()
    pq.write_table(log, root / "log" / "a.parquet")
    settings = {"rules_only": True, "hold_out": 2, "shards": 3, "duplicates": "count"}
    clean(interactions=root / "log", output=root / "run", **settings)
    weigh(root / "run")
    truth = Truth(log, root / "run")
    weights = {weight for pairs in truth.train.values() for _, weight in pairs}
    assert len(weights) > 90
    return truth, root


def weigh(run: Path) -> None:
    """Gives what is not held out weights as a model does, some of them 0."""
    for path in (run / "interactions").iterdir():
        table = pq.read_table(path)
        training = pc.equal(table["split"], "train")
        weights = pa.array(table["row"].to_numpy() * 37 % 101 / 100, pa.float32())
        weights = pc.if_else(training, weights, pa.scalar(1, pa.float32())).combine_chunks()
        assert pc.all(table["keep"]).as_py()
        place = table.column_names.index("weight")
        pq.write_table(table.set_column(place, table.schema.field("weight"), weights), path)
        sequences = pq.read_table(run / "sequences" / path.name)
        lists = pa.ListArray.from_arrays(sequences["item_ids"].combine_chunks().offsets, weights)
        place = sequences.column_names.index("weights")
        pq.write_table(sequences.set_column(place, "weights", lists), run / "sequences" / path.name)


def load(root: Path, name: str) -> dict:
    """Exports for a library, lets it load the export, and returns what it holds."""
    assert ENVIRONMENTS is not None
    python = Path(ENVIRONMENTS).absolute() / name / "bin" / "python"
    assert python.exists(), f"{python} is missing: run make test-clients"
    export(root / "run", format=name, output=root / name)
    command = [python, "-W", "ignore", SCRIPTS / f"load_{name}.py", root / name, root / f"{name}.json"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return json.loads((root / f"{name}.json").read_text())


def left_out(root: Path, name: str) -> set[str]:
    rows = pq.read_table(root / name / "left_out.parquet").to_pylist()
    return {row["id"] for row in rows if row["kind"] == "user"}


def test_recbole(odd):
    truth, root = odd
    found = load(root, "recbole")
    gone = left_out(root, "recbole")
    expected = {user for user, item in (*truth.validation.items(), *truth.test.items()) if item == "NA"}
    few = {user for user, pairs in truth.train.items() if sum(item != "NA" for item, _ in pairs) < 2}
    assert gone == {"null", "short-1", "short-3"} | expected | few
    truth = truth.without(gone, "NA")
    assert found["test"] == {
        user: [[*truth.history(user), truth.validation[user]], item] for user, item in truth.test.items()
    }
    assert found["validation"] == {user: [truth.history(user), item] for user, item in truth.validation.items()}
    assert sorted(found["train"]) == sorted(
        [user, truth.history(user)[:place], item, weight]
        for user, pairs in truth.train.items()
        for place, (item, weight) in enumerate(pairs)
        if place
    )


def test_rectools(odd):
    truth, root = odd
    found = load(root, "rectools")
    assert {user: items[0] for user, items in found["test"].items()} == truth.test
    assert {user: items[0] for user, items in found["validation"].items()} == truth.validation
    assert found["history"] == {
        user: items
        for user in truth.train
        if (items := truth.history(user) + ([truth.validation[user]] if user in truth.validation else []))
    }
    sessions = [[list(part) for part in zip(*pairs, strict=True)] for pairs in truth.train.values() if len(pairs) > 1]
    assert found["train"] == sorted(sessions)


def test_hf(odd):
    truth, root = odd
    found = load(root, "hf")
    assert found["train"] == {user: [list(pair) for pair in pairs] for user, pairs in truth.train.items() if pairs}
    assert found["validation"] == {user: [[item, 1]] for user, item in truth.validation.items()}
    assert found["test"] == {user: [[item, 1]] for user, item in truth.test.items()}
    assert found["times_increase"]
    run = {name: pq.read_table(root / "run" / name).to_pydict() for name in ("interactions", "sequences", "users")}
    columns = (run["interactions"][name] for name in ("user_id", "item_id", "keep", "weight"))
    assert found["interactions"] == [list(row) for row in zip(*columns, strict=True)]
    assert found["sequences"] == dict(zip(run["sequences"]["user_id"], run["sequences"]["item_ids"], strict=True))
    assert found["users"] == run["users"]["user_id"]
    assert found["is_default"]


def test_lenskit(odd):
    truth, root = odd
    found = load(root, "lenskit")

    def last_times(pairs: list[Interaction]) -> list[list]:
        return [list(pair) for place, pair in enumerate(pairs) if pair[0] not in dict(pairs[place + 1 :])]

    assert found["train"] == {user: last_times(pairs) for user, pairs in truth.train.items() if pairs}
    assert found["test"] == {user: [item] for user, item in truth.test.items()}
    assert found["recommended"] == len(truth.test)


def test_replay(odd):
    truth, root = odd
    found = load(root, "replay")
    maps = {
        kind: dict(zip(table["number"].to_pylist(), table[f"{kind}_id"].to_pylist(), strict=True))
        for kind in ("user", "item")
        for table in [pq.read_table(root / "replay" / f"{kind}_map.parquet")]
    }
    items = maps["item"]
    trained = [([items[n] for n in targets], weights) for targets, weights in found["train"] if targets]
    # RePlay predicts the first item too, from padding.
    expected = [tuple(map(list, zip(*pairs, strict=True))) for pairs in truth.train.values() if pairs]
    assert sorted(trained) == sorted(expected)
    for part, wanted in (("validate", truth.validation), ("test", truth.test)):
        named = {
            maps["user"][int(user)]: ([items[n] for n in history], [items[n] for n in ground_truth])
            for user, (history, ground_truth) in found[part].items()
        }
        before = {user: [truth.validation[user]] if part == "test" else [] for user in wanted}
        histories = {user: truth.history(user) + before[user] for user in wanted}
        assert named == {user: (histories[user], [item]) for user, item in wanted.items() if histories[user]}


def test_replay_with_behaviours(tmp_path):
    sequences = {
        f"user-{user}": [
            (f"item-{(user + place) % 12:02d}", "buy" if (user + place) % 3 else "view") for place in range(6)
        ]
        for user in range(12)
    }
    rows = [(user, *pair, time) for user, pairs in sequences.items() for time, pair in enumerate(pairs, 1_700_000_000)]
    log = dict(zip(("user_id", "item_id", "event", "timestamp"), zip(*rows, strict=True), strict=True))
    pq.write_table(pa.table(log), tmp_path / "log.parquet")
    behaviours = {"behaviour_column": "event", "behaviours": "view,buy"}
    clean(interactions=tmp_path / "log.parquet", output=tmp_path / "run", rules_only=True, hold_out=2, **behaviours)
    found = load(tmp_path, "replay")
    items = pq.read_table(tmp_path / "replay" / "item_map.parquet")
    names = dict(zip(items["number"].to_pylist(), items["item_id"].to_pylist(), strict=True))
    read = [
        [(names[item], ("view", "buy")[told]) for item, told in zip(*user, strict=True)] for user in found["behaviours"]
    ]
    # Of four interactions to train on, the last one is only predicted.
    assert sorted(read) == sorted(pairs[:3] for pairs in sequences.values())
