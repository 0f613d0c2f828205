"""Logs to measure on, and the noise that is added to them."""

import os
import re
import tempfile
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa

from iadsr.models.core.errors import InputError
from iadsr.models.core.sequences import Sequences
from iadsr.models.noise.insertion import insert_noise, replace_noise
from iadsr.pipeline.commands.command_options import EmbedOptions
from iadsr.pipeline.commands.embed import run_embed
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.embedding_files import read_embeddings
from iadsr.transforms.items.embedding_table import align
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_log import read_log
from iadsr.transforms.read.timestamps import time_of

Kind = Literal["insert", "replace", "label"]
NoiseItems = Literal["popular", "uniform"]

PROTECTED = 2
"""The last interactions of each user, which no noise is added to."""
STREAM = 0xDE7EC7
"""Part of every seed of the benchmarks' noise. Training uses small seeds, so that their random streams differ."""


@dataclass(frozen=True)
class Dataset:
    """A log and the text embeddings of its items."""

    name: str
    """What tables call it."""
    sequences: Sequences
    """The log; items are rows of `semantic`."""
    semantic: np.ndarray
    """float32 [V, D]."""
    has_semantic: np.ndarray
    """bool [V]."""
    label: np.ndarray | None = None
    """bool [N], interactions that the log itself calls unwanted; None if it has no such label."""
    time: np.ndarray | None = None
    """[N], time of each interaction. None once noise was added, which has no time of its own."""
    item_ids: pa.Array | None = None
    """The ids of the V items; None if nothing asks for them."""


@dataclass(frozen=True)
class Setting:
    """Which noise there is to find."""

    kind: Kind
    """Noise is inserted, or replaces genuine interactions; or the log's own label says what is noise."""
    noise: str
    """One of NoiseItems, or the label: `rating<3`."""
    rate: float
    """Share of the noisy log that is noise; 0 for a label."""

    def __str__(self) -> str:
        """Returns a description for a heading."""
        if self.kind == "label":
            return f"label {self.noise}"
        return f"{self.rate:.0%} {self.noise} noise, {'inserted' if self.kind == 'insert' else 'replacing'}"


@dataclass(frozen=True)
class Trial:
    """A log to judge, and the right answers."""

    dataset: Dataset
    """What a scorer sees: the log with the noise, without a label."""
    noise: np.ndarray
    """bool [N], which interactions are noise."""
    measured: np.ndarray
    """bool [N], interactions that count in measurements."""


def make_trial(dataset: Dataset, setting: Setting, seed: int) -> Trial:
    """Adds noise to a log, or takes the log's label as the noise.

    `popular` draws items in proportion to their popularity, so that rarity does not give noise away. `uniform` draws
    all items alike. No noise is added to each user's last PROTECTED interactions, and they count in no measurement.

    Raises:
        ValueError: The noise is a label, and the data set has none.
    """
    if setting.kind == "label":
        if dataset.label is None:
            raise ValueError(f"{dataset.name} was read without a label, expected {setting.noise!r}")
        return Trial(replace(dataset, label=None), dataset.label, np.ones(len(dataset.label), bool))
    noisy = (insert_noise if setting.kind == "insert" else replace_noise)(
        dataset.sequences,
        setting.rate,
        uniform_share=1.0 if setting.noise == "uniform" else 0.0,
        seed=np.random.SeedSequence([STREAM, seed]),
        protect_last=PROTECTED,
    )
    sequences = noisy.sequences
    from_end = np.repeat(sequences.offsets[1:], sequences.lengths) - np.arange(len(sequences.items))
    return Trial(replace(dataset, sequences=sequences, label=None, time=None), noisy.inserted, from_end > PROTECTED)


def read_dataset(
    directory: str, embeddings: str | None, columns: InteractionColumns, label: str | None = None
) -> Dataset:
    """Reads a log as `iadsr train` does, and reads or makes the embeddings of its items.

    Args:
        directory: Holds `interactions.parquet` and `items.parquet`. Its name is the name of the data set.
        embeddings: Directory that keeps embeddings for the next time, in one directory per data set; None keeps none.
        columns: Names of the log's columns.
        label: Which interactions were unwanted: a boolean column, or a comparison such as `rating<3`.

    Raises:
        InputError: The log, the catalogue or the label cannot be used.
    """
    name = os.path.basename(os.path.normpath(directory))
    path = os.path.join(directory, "interactions.parquet")
    column = _parse_label(label)[0] if label else None
    source = LogSource(path, columns)
    plan = plan_input(source)
    if column and column not in plan.schema.names:
        raise InputError(
            f"{path} has no column {column!r}",
            code="BENCHMARK-FILE",
            found=", ".join(plan.schema.names),
            expected="the column of the label",
            fix="correct --label",
        )
    log, _, _ = read_log(source, plan, (column,) if column else ())
    with tempfile.TemporaryDirectory() as scratch:
        kept = os.path.join(embeddings or scratch, name)
        if not os.path.isdir(kept):
            run_embed(EmbedOptions(os.path.join(directory, "items.parquet"), kept, item_column=columns.item))
        table = read_embeddings(kept)
    semantic, has_semantic = align(table, log.item_ids.cast(table.item_ids.type))
    unwanted = _read_label(log.table, label) if label else None
    return Dataset(
        name, log.sequences(columns), semantic, has_semantic, unwanted, time_of(log.table, columns), log.item_ids
    )


def _parse_label(label: str) -> tuple[str, str, float]:
    """Splits `rating<3` into column, operator and number. A bare column means that it is above 0."""
    found = re.fullmatch(r"(\w+)(?:(<|>)(-?\d+(?:\.\d+)?))?", label)
    if not found:
        raise InputError(
            "The label cannot be read",
            code="BENCHMARK-COLUMN",
            found=repr(label),
            expected="a boolean column, or a column, < or >, and a number",
            fix="write it like rating<3",
        )
    return found[1], found[2] or ">", float(found[3] or 0)


def _read_label(table: pa.Table, label: str) -> np.ndarray:
    column, operator, bound = _parse_label(label)
    values = table[column].cast(pa.float64()).to_numpy()
    # A missing value is no label, since comparisons with NaN are false.
    return values < bound if operator == "<" else values > bound
