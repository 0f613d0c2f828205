"""Embedding tables and files for the tests of items."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable

METADATA = EmbeddingMetadata("semantic", "minilm", "0.1.0", "mean", 3, ("title",))


@pytest.fixture(scope="session")
def table_of() -> Callable[..., EmbeddingTable]:
    """Builds a table for some item ids, with the vectors [1, 2, 3], [4, 5, 6] and so on."""

    def table_of(ids, *, dimension=3, metadata=METADATA, texts=True, absent=()):
        vectors = np.arange(1, len(ids) * dimension + 1, dtype=np.float32).reshape(-1, dimension)
        present = np.array([i not in absent for i in range(len(ids))])
        vectors[~present] = 0
        text = pa.array(
            [f"text {i}" if here else None for i, here in zip(ids, present, strict=True)], pa.large_string()
        )
        return EmbeddingTable(
            pa.array(ids), vectors, present, text if texts else None, replace(metadata, dimension=dimension)
        )

    return table_of


@pytest.fixture(scope="session")
def write_raw() -> Callable[..., str]:
    """Writes a Parquet file with any columns and any metadata, and returns its path."""

    def write_raw(path: Path, columns: dict, metadata: dict | bytes | None = None) -> str:
        table = pa.table(columns)
        if metadata is not None:
            value = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
            table = table.replace_schema_metadata({b"iadsr": value})
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
        return str(path)

    return write_raw
