import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import ArtifactError
from iadsr.pipeline import clean
from iadsr.pipeline.commands import clean as clean_command
from iadsr.transforms.items.embedding_files import read_embeddings, write_embeddings
from iadsr.transforms.items.embedding_table import UNKNOWN, EmbeddingMetadata
from iadsr.transforms.items.vector_sample import VectorSample
from iadsr.transforms.judge.artifacts import ModelFacts, changed_vectors, check_embeddings, read_model_facts


def test_collaborative_embeddings_of_another_model_are_refused(world, tmp_path):
    shutil.copytree(world.model, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    described = json.loads(config.read_text())
    described["metrics"]["note"] = "changed"
    config.write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match="belong to another model"):
        read_model_facts(str(tmp_path / "model"))


def test_a_model_must_say_what_it_was_trained_on(world, tmp_path):
    shutil.copytree(world.model, tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    described = json.loads(config.read_text())
    described["provenance"] = {}
    config.write_text(json.dumps(described))
    with pytest.raises(ArtifactError, match="does not say which embeddings"):
        read_model_facts(str(tmp_path / "model"))


def test_fitting_embeddings_are_described_for_the_manifest(world):
    described = check_embeddings(world.embeddings, read_model_facts(world.model), pa.string())
    assert described["encoder"] == "test-encoder"
    assert described["dimension"] == 16


def test_ids_of_another_kind_than_the_logs_are_refused(world):
    with pytest.raises(ArtifactError) as error:
        check_embeddings(world.embeddings, read_model_facts(world.model), pa.int32())
    assert "int32 in the log, string in the embeddings" in str(error.value)


def trained_on(world, *, own: bool) -> ModelFacts:
    """A model that was trained on the embeddings, known by their encoder or taken for somebody's own vectors."""
    table, facts = read_embeddings(world.embeddings), read_model_facts(world.model)
    known = EmbeddingMetadata("semantic", UNKNOWN, UNKNOWN, UNKNOWN, table.metadata.dimension)
    sample = VectorSample.of(table.item_ids, table.vectors, table.present)
    return dataclasses.replace(facts, semantic=known if own else facts.semantic, sample=sample)


def write_own(path, item_ids: pa.Array, vectors: np.ndarray) -> str:
    pq.write_table(pa.table({"item_id": item_ids, "embedding": list(vectors)}), path)
    return str(path)


def test_own_vectors_must_be_those_of_the_training(world, tmp_path):
    table, model = read_embeddings(world.embeddings), trained_on(world, own=True)
    grown = pa.concat_arrays([pa.array(["new"]), table.item_ids])
    vectors = np.concatenate([table.vectors[:1] + 1, table.vectors])
    assert check_embeddings(write_own(tmp_path / "a.parquet", grown, vectors), model, pa.string())["encoder"] == UNKNOWN
    others = write_own(tmp_path / "b.parquet", table.item_ids, table.vectors[:, ::-1])
    with pytest.raises(ArtifactError, match="are not those that the model") as error:
        check_embeddings(others, model, pa.string())
    assert error.value.code == "MODEL-VECTORS"
    assert "items looked at have another vector" in str(error.value.found)
    with pytest.raises(ArtifactError, match="no vector of any item looked at"):
        check_embeddings(write_own(tmp_path / "c.parquet", pa.array(["new"]), vectors[:1]), model, pa.string())


def test_texts_that_changed_since_the_training_are_told(world, tmp_path):
    table, model = read_embeddings(world.embeddings), trained_on(world, own=False)
    assert changed_vectors(world.embeddings, model) is None
    changed = table.vectors.copy()
    changed[: len(changed) // 2] *= -1
    write_embeddings(dataclasses.replace(table, vectors=changed), str(tmp_path))
    assert check_embeddings(str(tmp_path), model, pa.string())["encoder"] == "test-encoder"
    told = changed_vectors(str(tmp_path), model)
    assert told is not None
    assert "their texts have changed" in told


def test_files_left_out_and_vectors_that_have_changed_are_in_the_manifest(world, tmp_path, monkeypatch):
    shutil.copytree(world.embeddings, tmp_path / "vectors")
    (tmp_path / "vectors" / "notes.txt").write_text("not Parquet")
    monkeypatch.setattr(clean_command, "changed_vectors", lambda *_: "Their texts have changed.")
    paths = {"interactions": world.interactions, "model": world.model, "embeddings": str(tmp_path / "vectors")}
    manifest = clean(**paths, output=tmp_path / "out", drop_rate=0.05).manifest
    left_out, changed = manifest.notes
    assert left_out.startswith("Left out: 1 file: ")
    assert "notes.txt" in left_out
    assert changed == "Their texts have changed."
