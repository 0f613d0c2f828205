"""Feeds mutated real files to the readers. test_fuzz runs it in its own process, because native readers can crash.

    python readers.py DIRECTORY KIND:FIRST:COUNT ...

For each kind it prints a line of JSON with the number of cases by how they ended. Before each case it writes the kind
and the number to DIRECTORY/case, so that a crash can be traced. Every end is a failure but one of our errors or a right
answer.
"""

import json
import random
import resource
import signal
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from iadsr.models.core.errors import IadsrError

MEMORY = 6 << 30
SECONDS = 60


def mutate(content: bytes, generator: random.Random) -> bytes:
    """Flips, overwrites, swaps, removes or doubles parts of a file, or cuts it off; sometimes in several places.

    Most changes keep the size. The others break a Parquet file before any of its data is read.
    """
    if content[:1] == b"{" and generator.random() < 0.6:
        return json.dumps(mutate_values(json.loads(content), generator)).encode()
    data = bytearray(content)
    for _ in range(generator.choice((1, 1, 1, 1, 2, 4))):
        if not data:
            break
        place, size = generator.randrange(len(data)), generator.choice((1, 1, 1, 2, 4, 8))
        size = min(size, len(data) - place)
        match generator.choice((0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 4, 5, 6)):
            case 0:
                data[place] ^= 1 << generator.randrange(8)
            case 1:
                data[place : place + size] = generator.randbytes(size)
            case 2:
                data[place : place + size] = generator.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * size
            case 3:
                other = generator.randrange(len(data))
                data[place], data[other] = data[other], data[place]
            case 4:
                del data[place : place + size]
            case 5:
                data[place:place] = data[place : place + size]
            case _:
                del data[place:]
    return bytes(data)


HOSTILE = (
    None,
    True,
    -1,
    0,
    2**31,
    2**63,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "../..",
    [],
    [[]],
    {},
    {"a": 1},
)


def mutate_values(value: Any, generator: random.Random) -> Any:
    """Replaces one value of a JSON document, or removes an entry."""
    if not isinstance(value, (dict, list)) or not value or generator.random() < 0.15:
        return generator.choice(HOSTILE)
    copy = dict(value) if isinstance(value, dict) else list(value)
    key = generator.choice(list(copy)) if isinstance(copy, dict) else generator.randrange(len(copy))
    if generator.random() < 0.1:
        del copy[key]
    else:
        copy[key] = mutate_values(copy[key], generator)
    return copy


def log_files(directory: Path) -> list[bytes]:
    """Small logs of several encodings, types and sizes."""
    n = 24
    users = pa.array([f"u{k % 5}" for k in range(n)])
    plain = pa.table({"user_id": users, "item_id": pa.array(range(n)), "timestamp": pa.array(range(n), pa.int64())})
    rich = pa.table(
        {
            "user_id": users.dictionary_encode(),
            "item_id": pa.array([f"item-{k % 7}" for k in range(n)], pa.large_string()),
            "timestamp": pa.array(range(n), pa.timestamp("us", "UTC")),
            "price": pa.array([k / 3 if k % 4 else None for k in range(n)]),
            "tags": pa.array([["a", None], None, []] * 8),
            "more": pa.array([{"x": k, "y": str(k)} for k in range(n)]),
        }
    )
    text = plain.set_column(2, "timestamp", pa.array(["2024-01-01T00:00:00"] * n))
    kinds = (
        (plain, {"compression": "none", "use_dictionary": False}),
        (plain, {"compression": "snappy", "row_group_size": 7}),
        (rich, {"compression": "zstd", "row_group_size": 9}),
        (rich, {"compression": "none", "data_page_version": "2.0"}),
        (text, {"compression": "none"}),
        (text, {"compression": "gzip"}),
    )
    contents = []
    for number, (table, options) in enumerate(kinds):
        pq.write_table(table, directory / f"{number}.parquet", **options)
        contents.append((directory / f"{number}.parquet").read_bytes())
    return contents


def read_log(path: Path, content: bytes) -> str:
    """Plans and reads a log. Each row that the footer counts must be valid or rejected."""
    from iadsr.transforms.contract.columns import InteractionColumns
    from iadsr.transforms.read.input_plan import plan_input
    from iadsr.transforms.read.log_source import LogSource
    from iadsr.transforms.read.ordering import order_interactions
    from iadsr.transforms.read.read_splits import read_split

    path.write_bytes(content)
    columns = InteractionColumns()
    plan = plan_input(LogSource(str(path), columns))
    rejected = 0
    for split in plan.splits:
        valid, refused = read_split(split, columns, plan.schema, "skip")
        assert len(valid) + len(refused) == split.rows, "rows were lost"
        order_interactions(valid, columns)
        rejected += len(refused)
    return "rejected rows" if rejected else "read"


def embedding_files(directory: Path) -> list[bytes]:
    from iadsr.transforms.items.embedding_files import write_embeddings
    from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable

    contents = []
    for ids in (pa.array([f"i{n}" for n in range(9)]), pa.array(range(9))):
        vectors = np.arange(36, dtype=np.float32).reshape(9, 4)
        metadata = EmbeddingMetadata("semantic", "e", "1", "mean", 4, ("title",))
        texts = pa.array([f"text {n}" if n % 3 else None for n in range(9)], pa.large_string())
        (path,) = write_embeddings(
            EmbeddingTable(ids, vectors, vectors.any(axis=1), texts, metadata), str(directory / str(ids.type))
        )
        contents.append(Path(path).read_bytes())
    return contents


def read_table(path: Path, content: bytes) -> str:
    from iadsr.transforms.items.embedding_files import read_embeddings

    path.write_bytes(content)
    table = read_embeddings(str(path))
    assert table.vectors.shape == (len(table), table.metadata.dimension), "another shape than it claims"
    assert np.isfinite(table.vectors).all(), "vectors that cannot be computed with"
    return "read"


def catalogue_files(directory: Path) -> list[bytes]:
    table = pa.table(
        {"item_id": [f"i{n}" for n in range(9)], "title": ["a", None, "c"] * 3, "category": [["x", "y"], None, []] * 3}
    )
    pq.write_table(table, directory / "items.parquet")
    return [(directory / "items.parquet").read_bytes()]


def read_catalogue(path: Path, content: bytes) -> str:
    from iadsr.transforms.items.item_texts import read_item_texts

    path.write_bytes(content)
    texts = read_item_texts(str(path))
    assert len(texts.item_ids) == len(texts.texts), "items without a place for their text"
    return "read"


def _model(directory: Path) -> Path:
    import torch

    from iadsr.models.detector.iadsr import IADSR
    from iadsr.models.detector.model_config import IADSRConfig

    torch.manual_seed(0)
    shape = {"collaborative_dimension": 2, "hidden_dimension": 4, "semantic_dimension": 4, "folds": 2}
    model = IADSR(IADSRConfig(**shape, head_dimension=2, context_dimension=4, semantic_components=4))
    model.metrics, model.provenance = {"users": 7, "held_out_auroc": 0.8}, {"embeddings": {"kind": "semantic"}}
    model.save_pretrained(directory / "model")
    return directory / "model"


def weight_files(directory: Path) -> list[bytes]:
    return [(_model(directory) / "model.safetensors").read_bytes()]


def config_files(directory: Path) -> list[bytes]:
    return [(_model(directory) / "config.json").read_bytes()]


def read_model(path: Path, content: bytes) -> str:
    from iadsr.models.detector.iadsr import IADSR
    from iadsr.models.detector.model_files import read_noise_reference

    path.write_bytes(content)
    read_noise_reference(path.parent)
    IADSR.from_pretrained(path.parent)
    return "read"


def manifest_files(directory: Path) -> list[bytes]:
    from iadsr.transforms.files.tables import WrittenFile
    from iadsr.transforms.run import manifest as parts

    manifest = parts.Manifest(
        format_version=1,
        run="7fcc",
        iadsr_version="0.1.0",
        started_at="2026-11-28T01:14:29+00:00",
        model=parts.ModelOrigin("model", "33", "gru4rec", {"users": 1}),
        embeddings=parts.EmbeddingsOrigin("vectors", "semantic", "minilm", "0.1.0", "mean", 4, ("title",), "e5"),
        options={"columns": {"user": "u"}},
        versions={"python": "3.11.7"},
        finished_at="2026-11-28T01:14:40+00:00",
        durations_seconds={"total": 1.5},
        rows=parts.RowCounts(1, 1, 0, 0),
        files=(parts.InputFile("x", 1, 1, 0, 0, 0, 1, 0.0, {"day": "1"}),),
        skipped_files=(),
        tables=(),
        notes=(),
        directory=None,
        outputs=(WrittenFile("interactions/x.parquet", 1, 9, "4e"),),
        users=parts.UserCounts(1, 0, 0, 0),
        items=parts.ItemTotals(1, 0, 0, 0),
        reasons=parts.ReasonCounts({"noise:short_term": 0}, {"min_length": 0}, {"null u": 0}),
        policy=parts.AppliedPolicy("auto", 0.0, None, 4.0, 0.0, 1, 0),
        noise_share=parts.NoiseShareEstimate(0.1, 0.05, 0.15, None, None),
        noise_probability_histogram=parts.ProbabilityHistogram((0.0, 1.0), (1,), (0,)),
        popularity_buckets=(parts.PopularityBucket("1", 1, 1, 1, 1, 0, 0.0, None),),
        sequence_lengths=parts.SequenceLengths(("0", "1"), (0, 1), (0, 1)),
        times=parts.Times("s", 1, "2024-06-10T08:00:00Z", "2024-06-10T09:00:00Z", ()),
        rules=(parts.RuleFindings("core", {"min_user_interactions": 2}, True, 1, 1),),
    )
    return [manifest.to_json().encode()]


def read_manifest(path: Path, content: bytes) -> str:
    from iadsr.transforms.run.verification import verify_output

    path.write_bytes(content)
    verify_output(str(path.parent))
    return "read"


KINDS: dict[str, tuple[Callable, str, Callable]] = {
    "log": (log_files, "log.parquet", read_log),
    "embeddings": (embedding_files, "part-00000.parquet", read_table),
    "catalogue": (catalogue_files, "items.parquet", read_catalogue),
    "weights": (weight_files, "model/model.safetensors", read_model),
    "config": (config_files, "model/config.json", read_model),
    "manifest": (manifest_files, "manifest.json", read_manifest),
}


def run(kind: str, first: int, count: int, directory: Path) -> dict[str, Any]:
    """Runs cases first to first + count - 1 of a kind."""
    make, name, read = KINDS[kind]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as scratch:
        originals = make(Path(scratch))
        ends: Counter[str] = Counter()
        failures = []
        for number in range(first, first + count):
            (directory / "case").write_text(f"{kind} {number}")
            generator = random.Random(f"{kind} {number}")
            content = mutate(originals[number % len(originals)], generator)
            signal.alarm(SECONDS)  # ends the process if a reader hangs
            try:
                ends[read(Path(scratch) / name, content)] += 1
            except IadsrError as error:
                str(error).encode()
                ends[error.code] += 1
            except Exception:
                failures.append({"case": number, "error": traceback.format_exc()[-1500:]})
            signal.alarm(0)
    return {"kind": kind, "cases": count, "ends": ends, "failures": failures}


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for argument in sys.argv[2:]:
        kind, first, count = argument.split(":")
        print(json.dumps(run(kind, int(first), int(count), Path(sys.argv[1]))), flush=True)
