import dataclasses
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.models.core.option import build, options_of
from iadsr.models.detector.model_files import fingerprint
from iadsr.pipeline import train
from iadsr.pipeline.cli.config_file import read_config
from iadsr.pipeline.commands.command_options import TrainOptions
from iadsr.pipeline.commands.train import run_train
from iadsr.transforms.items.embedding_files import read_embeddings, write_embeddings


@pytest.fixture(scope="module")
def start(world, tmp_path_factory):
    """A model of the first nine tenths of the world's log."""
    folder = tmp_path_factory.mktemp("start")
    log = world.log().sort_by("timestamp")
    pq.write_table(log.slice(0, len(log) * 9 // 10), folder / "log.parquet")
    values = {"interactions": folder / "log.parquet", "embeddings": world.embeddings, "output": folder / "model"}
    run_train(build(TrainOptions, values))
    return str(folder / "model")


def options(world, output, start, **others):
    values = {"interactions": world.interactions, "embeddings": world.embeddings, "output": output, "from_": start}
    return build(TrainOptions, values | others)


def refused(world, tmp_path, start, kind=InputError, **others):
    with pytest.raises(kind) as raised:
        run_train(options(world, tmp_path / "model", start, **others))
    assert not (tmp_path / "model").exists()
    return raised.value


def test_a_training_from_a_model_says_what_it_started_from_and_can_be_a_start_itself(world, start, tmp_path):
    summary = run_train(options(world, tmp_path / "second", start))
    described = json.loads((tmp_path / "second" / "config.json").read_text())
    assert described["provenance"]["start"] == {
        "fingerprint": fingerprint(start),
        "interactions": 2880,
        "users": 360,
        "items": 40,
    }
    metrics = described["metrics"]
    assert f"Started from {start}, which knew 40 of these items" in str(summary)
    assert f"AUROC was {metrics['start_held_out_auroc']:.3f} before" in str(summary)
    assert fingerprint(start)[:12] in (tmp_path / "second" / "README.md").read_text()
    again = train(
        interactions=world.interactions,
        embeddings=world.embeddings,
        output=tmp_path / "third",
        from_=tmp_path / "second",
    )
    assert again.start == str(tmp_path / "second")


def test_other_options_are_refused_with_those_to_give(world, start, tmp_path):
    error = refused(world, tmp_path, start, seed=3, backbone="caser", hold_out=2)
    assert error.code == "START-OPTIONS"
    assert "backbone gru4rec" in error.found
    assert "backbone caser" in error.expected
    assert "train without --from" in error.fix
    assert "--backbone gru4rec" in error.fix
    error = refused(world, tmp_path, start, seed=3, hold_out=2)
    assert (error.found, error.expected) == ("seed 0, hold_out 0", "seed 3, hold_out 2")
    assert error.fix == "give --seed 0 --hold-out 0, or train without --from"
    assert refused(world, tmp_path, start, head="paper").code == "START-OPTIONS"


def test_a_model_of_other_widths_or_noise_is_refused(world, tmp_path):
    error = refused(world, tmp_path, world.model)
    assert error.code == "START-OPTIONS"
    assert "hidden_dimension 16" in error.found
    assert error.fix == "train without --from"


def test_a_model_is_not_replaced_by_the_one_that_starts_from_it(world, start):
    for output in (start, f"{start}/", f"{start}/../model"):
        with pytest.raises(InputError) as raised:
            run_train(options(world, output, start, overwrite=True))
        assert raised.value.code == "START-OUTPUT"


def test_embeddings_of_another_encoder_and_ids_of_another_type_are_refused(world, start, tmp_path):
    table = read_embeddings(world.embeddings)
    metadata = dataclasses.replace(table.metadata, encoder="another")
    write_embeddings(dataclasses.replace(table, metadata=metadata), str(tmp_path / "embeddings"))
    error = refused(world, tmp_path, start, ArtifactError, embeddings=tmp_path / "embeddings")
    assert error.code == "MODEL-FIT"


def test_a_model_that_knows_no_item_of_the_log_is_refused(world, start, tmp_path):
    log, table = world.log(), read_embeddings(world.embeddings)
    renamed = pa.array([f"other {item}" for item in log["item_id"].to_pylist()])
    pq.write_table(log.set_column(1, "item_id", renamed), tmp_path / "log.parquet")
    ids = pa.array([f"other {item}" for item in table.item_ids.to_pylist()])
    write_embeddings(dataclasses.replace(table, item_ids=ids), str(tmp_path / "embeddings"))
    others = {"interactions": tmp_path / "log.parquet", "embeddings": tmp_path / "embeddings"}
    assert refused(world, tmp_path, start, **others).code == "START-ITEMS"


def test_what_is_no_model_or_of_another_format_is_refused(world, start, tmp_path):
    assert refused(world, tmp_path, str(tmp_path), ArtifactError).code == "MODEL-MISSING"
    old = tmp_path / "old"
    old.mkdir()
    described = json.loads((Path(start) / "config.json").read_text())
    (old / "config.json").write_text(json.dumps(described | {"format_version": 1}))
    (old / "model.safetensors").write_bytes((Path(start) / "model.safetensors").read_bytes())
    assert refused(world, tmp_path, str(old), ArtifactError).code == "MODEL-FORMAT"


def test_the_option_is_from_on_the_command_line_and_in_files_though_it_is_a_keyword_of_python(tmp_path):
    declared = options_of(TrainOptions)
    assert declared["from_"].flag == "--from"
    (tmp_path / "train.yaml").write_text("from: models/yesterday\n")
    values, _ = read_config(tmp_path / "train.yaml", "train", declared, {})
    assert values == {"from_": "models/yesterday"}
