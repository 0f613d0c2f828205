import json
import shutil

import pyarrow as pa
import pytest

from iadsr.models.core.errors import ArtifactError
from iadsr.transforms.judge.artifacts import check_embeddings, read_model_facts


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
