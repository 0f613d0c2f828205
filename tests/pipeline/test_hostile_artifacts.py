"""Models, embeddings and configurations that were made to do harm are refused, and none of their code runs."""

import ast
import json
import os
import pickle
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file, save_file

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.models.core.option import options_of
from iadsr.models.detector.iadsr import IADSR
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.commands.command_options import CleanOptions
from iadsr.transforms.items.embedding_files import read_embeddings
from iadsr.transforms.judge.artifacts import read_model_facts

ROOT = Path(__file__).parents[2]


@pytest.fixture
def model(world, tmp_path) -> Path:
    return Path(shutil.copytree(world.model, tmp_path / "model"))


@pytest.fixture
def embeddings(world, tmp_path) -> Path:
    return Path(shutil.copytree(world.embeddings, tmp_path / "embeddings"))


def load(model: Path) -> None:
    """Reads everything of a model that clean reads."""
    read_model_facts(str(model))
    IADSR.from_pretrained(model)


class Explosive:
    """Makes a directory if it is unpickled."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_the_source_unpickles_or_evaluates(parse_source):
    forbidden = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    calls = {"eval", "exec", "compile", "__import__"}
    for folder in ("models", "transforms", "pipeline"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(parse_source(path)):
                if isinstance(node, (ast.Import, ast.ImportFrom)):
                    names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
                    assert not {name.split(".")[0] for name in names} & forbidden, path
                if isinstance(node, ast.Call):
                    name = ast.unparse(node.func)
                    assert name not in calls | {"torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}, path
                    if name == "np.load":
                        assert not any(keyword.arg == "allow_pickle" for keyword in node.keywords), path


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_pickle_in_the_place_of_a_file_is_refused_and_not_run(model, tmp_path, name):
    (model / name).write_bytes(pickle.dumps(Explosive(tmp_path / "boom")))
    with pytest.raises(ArtifactError):
        load(model)
    torch.save({"x": torch.zeros(1)}, model / name)
    with pytest.raises(ArtifactError):
        load(model)
    assert not (tmp_path / "boom").exists()


def header(content: bytes) -> dict:
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length])


def with_header(content: bytes, new: dict) -> bytes:
    (length,) = struct.unpack("<Q", content[:8])
    text = json.dumps(new).encode()
    return struct.pack("<Q", len(text)) + text + content[8 + length :]


def test_weights_whose_header_claims_more_than_the_file_are_refused(model):
    weights = model / "model.safetensors"
    content = weights.read_bytes()
    claims = header(content)
    name = next(name for name in claims if name != "__metadata__")
    huge = {**claims, name: {**claims[name], "shape": [2**40], "data_offsets": [0, 2**42]}}
    overlap = {**claims, name: {**claims[name], "data_offsets": [0, 0]}}
    negative = {**claims, name: {**claims[name], "shape": [-1]}}
    strange = {**claims, name: {**claims[name], "dtype": "F8_E4M3"}}
    for hostile in (
        with_header(content, huge),
        with_header(content, overlap),
        with_header(content, negative),
        with_header(content, strange),
        struct.pack("<Q", 2**63) + content[8:],
        struct.pack("<Q", 2**26) + b"[" * 1000,
        content[:-1],
        content + b"\0",
        b"",
    ):
        weights.write_bytes(hostile)
        with pytest.raises(ArtifactError):
            IADSR.from_pretrained(model)
        with pytest.raises(ArtifactError):
            load(model)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float64, torch.int64, torch.complex64])
def test_a_reference_of_another_type_is_refused(model, kind):
    tensors = load_file(model / "model.safetensors")
    tensors["noise_reference"] = tensors["noise_reference"].to(kind)
    save_file(tensors, model / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"does not hold the scores of inserted noise|types that NumPy knows"):
        read_model_facts(str(model))


def nested(levels: int) -> dict:
    value: dict = {}
    for _ in range(levels):
        value = {"a": value}
    return value


CONFIGS = {
    "huge sizes": lambda d: d["config"].update({k: 10**6 for k, v in d["config"].items() if type(v) is int}),
    "beyond int64": lambda d: d["config"].update(hidden_dimension=10**30),
    "negative": lambda d: d["config"].update(hidden_dimension=-1),
    "true": lambda d: d["config"].update(folds=True),
    "text": lambda d: d["config"].update(folds="5; import os"),
    "NaN": lambda d: d["config"].update(dropout=float("nan")),
    "unknown backbone": lambda d: d["config"].update(backbone="__import__('os').system('x')"),
    "unknown key": lambda d: d["config"].update(__class__="os"),
    "deep metrics": lambda d: d["metrics"].update(nested(500)),
    "deep provenance": lambda d: d["provenance"].update(nested(900)),
    "many metrics": lambda d: d["metrics"].update({str(n): n for n in range(100_000)}),
    "long name": lambda d: d["metrics"].update(x="y" * 10**6),
    "no embeddings": lambda d: d["provenance"].update(embeddings=[1, 2]),
    "embeddings of text": lambda d: d["provenance"].update(embeddings="x"),
    "endless dimension": lambda d: d["provenance"]["embeddings"].update(dimension=float("inf")),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_hostile_configuration_is_refused(model, name):
    described = json.loads((model / "config.json").read_text())
    CONFIGS[name](described)
    (model / "config.json").write_text(json.dumps(described))
    with pytest.raises(ArtifactError) as error:
        load(model)
    assert len(str(error.value)) < 10_000


@pytest.mark.parametrize(
    "text", ["[" * 100_000, "1" * 100_000, "{}" + " " * (17 << 20), "null", "\ud800", '{"a":' * 5000]
)
def test_a_configuration_that_is_no_json_of_ours_is_refused(model, text):
    (model / "config.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ArtifactError):
        load(model)


@pytest.mark.parametrize(
    "place", ["config.json", "model.safetensors", "collaborative/part-00000.parquet", "collaborative"]
)
def test_links_out_of_a_model_are_refused(model, tmp_path, place):
    secret = tmp_path / "secret"
    shutil.move(model / place, secret)
    (model / place).symlink_to(secret)
    with pytest.raises(ArtifactError) as error:
        load(model)
    assert error.value.code == "ARTIFACT-LINK"
    assert "a symbolic link to" in str(error.value)


def test_a_model_that_is_itself_named_through_a_link_is_read(model, tmp_path):
    (tmp_path / "current").symlink_to(model)
    load(tmp_path / "current")


def test_links_and_pipes_in_embeddings_are_refused(embeddings, tmp_path):
    part = next(embeddings.glob("*.parquet"))
    shutil.move(part, tmp_path / "elsewhere.parquet")
    part.symlink_to(tmp_path / "elsewhere.parquet")
    with pytest.raises(ArtifactError, match="is not a regular file of this directory"):
        read_embeddings(str(embeddings))
    part.unlink()
    os.mkfifo(part)
    with pytest.raises(ArtifactError, match="is not a regular file of this directory"):
        read_embeddings(str(embeddings))


WHOLE = '"kind": "semantic", "encoder": "e", "revision": "r", "pooling": "p"'
METADATA = [
    "",
    "[]",
    "null",
    "[" * 100_000,
    '{"kind": "semantic"}',
    '{"kind": ["semantic"], "encoder": 1, "revision": 1, "pooling": 1, "dimension": 16}',
    "{" + WHOLE + ', "dimension": Infinity}',
    "{" + WHOLE + ', "dimension": 16, "text_columns": 5}',
    "{" + WHOLE + ', "dimension": 16, "table": "t", "parts": "../x"}',
]


@pytest.mark.parametrize("metadata", METADATA)
def test_hostile_metadata_of_embeddings_is_refused(embeddings, metadata):
    part = next(embeddings.glob("*.parquet"))
    table = pq.read_table(part)
    pq.write_table(table.replace_schema_metadata({"iadsr": metadata}), part)
    with pytest.raises(ArtifactError, match="metadata is damaged"):
        read_embeddings(str(embeddings))


def test_vectors_of_another_shape_than_they_claim_are_refused(embeddings):
    part = next(embeddings.glob("*.parquet"))
    table = pq.read_table(part)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(len(table) * 3, np.float32)), 3)
    pq.write_table(table.set_column(1, "embedding", flat), part)
    with pytest.raises(ArtifactError, match="disagree"):
        read_embeddings(str(embeddings))


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60)) + "output: *a59\n"
YAML = {
    "object": "output: !!python/object/apply:os.mkdir [boom]",
    "module": "output: !!python/module:os",
    "name": "output: !!python/name:os.system",
    "bomb": BOMB,
    "merge": "base: &b {x: 1}\noutput:\n  <<: *b",
    "deep": "output: " + "[" * 20_000,
    "no such day": "output: 2024-02-31",
    "digits": "output: " + "9" * 10_000,
    "large": "output: " + "x" * (2 << 20),
    "binary": "\0\1",
    "list as key": "? [a, b]\n: c",
}


@pytest.mark.parametrize("name", YAML)
def test_yaml_that_builds_objects_or_explodes_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text(YAML[name])
    with pytest.raises(InputError) as error:
        read_config(tmp_path / "c.yaml", "clean", {"output": options_of(CleanOptions)["output"]}, {})
    assert error.value.code.startswith("CONFIG-")
    assert not (tmp_path / "boom").exists()
