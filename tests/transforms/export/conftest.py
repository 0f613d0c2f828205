"""A finished run of a few users, written by hand: its sequences, and what exports read of its manifest."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.export.user_sequences import FinishedRun

Kept = tuple[Any, int, float, str]
"""Item, time, weight and part of the split of an interaction."""


@pytest.fixture
def make_run(tmp_path) -> Callable[..., FinishedRun]:
    def make(
        *shards: dict[Any, list[Kept]], hold_out: int = 2, unit: str | None = "s", behaviours: str = ""
    ) -> FinishedRun:
        (tmp_path / "run" / "sequences").mkdir(parents=True)
        files = []
        for number, users in enumerate(shards):
            name = f"sequences/part-{number:05d}-of-{len(shards):05d}.parquet"
            columns = {
                "user_id": list(users),
                **{
                    column: [[kept[place] for kept in sequence] for sequence in users.values()]
                    for place, column in enumerate(("item_ids", "timestamps", "weights", "splits"))
                },
            }
            columns["weights"] = pa.array(columns["weights"], pa.list_(pa.float32()))
            if not hold_out:
                del columns["splits"]
            if behaviours:  # one letter for each interaction, the same for all users
                columns["behaviours"] = [list(behaviours[: len(sequence)]) for sequence in users.values()]
            pq.write_table(pa.table(columns), tmp_path / "run" / name)
            files.append(SimpleNamespace(path=name, rows=len(users)))
        manifest: Any = SimpleNamespace(
            outputs=files,
            run="token",
            times=SimpleNamespace(unit=unit),
            options={},
            behaviours=tuple(SimpleNamespace(behaviour=each) for each in sorted(set(behaviours))),
        )
        columns = InteractionColumns(behaviour="event" if behaviours else None)
        return FinishedRun(str(tmp_path / "run"), manifest, columns, hold_out)

    return make


@pytest.fixture
def run(make_run) -> FinishedRun:
    """Two shards. ann's times tie, bea has an interaction that weighs nothing, and cid has too little to train on."""
    return make_run(
        {
            "ann": [
                ("b", 10, 1.0, "train"),
                ("a", 10, 0.25, "train"),
                ("c", 10, 1.0, "train"),
                ("a", 11, 1.0, "validation"),
                ("d", 12, 1.0, "test"),
            ],
            "bea": [
                ("c", 20, 0.5, "train"),
                ("b", 21, 0.0, "train"),
                ("d", 22, 1.0, "train"),
                ("a", 23, 1.0, "validation"),
                ("b", 24, 1.0, "test"),
            ],
        },
        {"cid": [("a", 30, 1.0, "train"), ("b", 31, 1.0, "validation"), ("c", 32, 1.0, "test")]},
    )
