"""A tiny world to run the commands in: items of two tastes, users who mostly keep to one of them, a trained model."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.pipeline.commands.train import write_model
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.embedding_files import write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable, fingerprint
from iadsr.transforms.read.input_plan import plan_input
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.read.read_log import read_log

USERS, ITEMS, LENGTH, DIMENSION = 400, 40, 8, 16


@dataclasses.dataclass(frozen=True)
class World:
    """The paths of the tiny world. Tests must not change what lies there: all of them share it."""

    interactions: str
    embeddings: str
    model: str

    def log(self) -> pa.Table:
        return pq.read_table(self.interactions)

    def with_bad_input(self, directory: Path) -> str:
        """Returns the path of a copy of the log that has a file that is no Parquet and a row without a user."""
        shutil.copytree(self.interactions, directory)
        (directory / "c.parquet").write_bytes(b"no Parquet")
        row = {"user_id": pa.array([None], pa.string()), "item_id": ["item-01"], "timestamp": [1]}
        pq.write_table(pa.table(row), directory / "d.parquet")
        return str(directory)


def make_log(seed: int = 0) -> pa.Table:
    generator = np.random.default_rng(seed)
    users = np.repeat(np.arange(USERS), LENGTH)
    items = np.concatenate(
        [generator.choice(ITEMS // 2, LENGTH, replace=False) + (user % 2) * ITEMS // 2 for user in range(USERS)]
    )
    strays = generator.random(len(items)) < 0.08  # an item of the other taste
    items = np.where(strays, (items + ITEMS // 2) % ITEMS, items)
    order = generator.permutation(len(items))
    return pa.table(
        {
            "user_id": [f"user-{u:03d}" for u in users[order]],
            "item_id": [f"item-{i:02d}" for i in items[order]],
            "timestamp": pa.array(1_500_000_000 + order * 60),
            "rating": pa.array(generator.integers(1, 6, len(items)), pa.int8()),
        }
    )


@pytest.fixture(scope="session")
def world(made_once) -> World:
    root = made_once("world", make_world)
    return World(str(root / "log"), str(root / "embeddings"), str(root / "model"))


def make_world(root: Path) -> None:
    log = make_log()
    # Two files, one of them with several row groups: more than one split, more than one file in the manifest.
    (root / "log").mkdir()
    pq.write_table(log.slice(0, 500), root / "log" / "a.parquet", row_group_size=100)
    pq.write_table(log.slice(500), root / "log" / "b.parquet")

    generator = np.random.default_rng(1)
    centres = generator.normal(size=(2, DIMENSION))
    vectors = centres[np.arange(ITEMS) // (ITEMS // 2)] + 0.5 * generator.normal(size=(ITEMS, DIMENSION))
    ids = [f"item-{i:02d}" for i in range(ITEMS)]
    semantic = EmbeddingTable(
        item_ids=pa.array(ids),
        vectors=vectors.astype(np.float32),
        present=np.ones(ITEMS, bool),
        texts=pa.array([f"Thing {i}" for i in ids], pa.large_string()),
        metadata=EmbeddingMetadata("semantic", "test-encoder", "1", "mean", DIMENSION, ("title",)),
    )
    write_embeddings(semantic, str(root / "embeddings"))

    source = LogSource(str(root / "log"))
    ordered, _, _ = read_log(source, plan_input(source))
    result = train_model(
        ordered.sequences(InteractionColumns()),
        semantic.vectors,
        semantic.present,
        IADSRConfig(semantic_dimension=DIMENSION, hidden_dimension=16, collaborative_dimension=8, head_dimension=8),
        # Single items only: whoever likes the same half would lend a run that nothing tells from the user's own items.
        TrainingConfig(
            collaborative_epochs=8,
            batch_positions=512,
            negatives=16,
            held_out_share=0.2,
            run_share=0,
            text_share=0,
        ),
    )
    result.model.provenance = {
        "embeddings": semantic.metadata.to_dict(),
        "embeddings_fingerprint": fingerprint(semantic),
    }
    write_model(str(root / "model"), result, ordered.item_ids)
