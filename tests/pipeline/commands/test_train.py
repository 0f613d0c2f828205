import os
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from iadsr.models.core.errors import InputError, UsageError
from iadsr.models.core.item_vectors import PackedItemVectors
from iadsr.models.core.option import build
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_files import fingerprint
from iadsr.models.training.train_model import TrainingResult, train_model
from iadsr.models.training.training_config import TrainingConfig
from iadsr.pipeline.commands import train as train_command
from iadsr.pipeline.commands.command_options import TrainOptions
from iadsr.pipeline.commands.train import KeptFiles, check_output, run_train, write_model
from iadsr.pipeline.engines.progress import Progress
from iadsr.transforms.items.embedding_files import read_embeddings
from iadsr.transforms.judge.artifacts import read_model_facts
from iadsr.transforms.read.log_source import LogSource
from iadsr.transforms.rules.rule_options import RuleOptions
from iadsr.transforms.run.output_directory import locked

LENGTH = 8
"""Interactions of each user of the tiny world."""


def test_a_share_of_rejected_rows_that_is_none_is_refused():
    paths = {"interactions": "log", "embeddings": "embeddings", "output": "model"}
    with pytest.raises(UsageError, match="--max-rejected is out of range"):
        build(TrainOptions, {**paths, "max_rejected": 1.5})


def test_a_log_with_columns_of_added_names_gives_the_same_model_as_one_without(world, tmp_path):
    log = pa.concat_tables([pq.read_table(path) for path in sorted(Path(world.interactions).iterdir())])
    pq.write_table(log, tmp_path / "plain.parquet")
    pq.write_table(log.append_column("weight", log["rating"]), tmp_path / "weight.parquet")
    models = []
    for name in ("plain", "weight"):
        source = LogSource(str(tmp_path / f"{name}.parquet"))
        models.append(str(tmp_path / name))
        run_train(TrainOptions(source, world.embeddings, models[-1]))
    assert read_model_facts(models[0]).noise_reference.tolist() == read_model_facts(models[1]).noise_reference.tolist()


def test_nothing_is_learned_from_what_is_held_out(world, tmp_path):
    log = world.log().sort_by([("user_id", "ascending"), ("timestamp", "ascending")])
    pq.write_table(log.filter(LENGTH - np.arange(len(log)) % LENGTH > 2), tmp_path / "earlier.parquet")
    facts = []
    for path, hold_out in ((world.interactions, 2), (tmp_path / "earlier.parquet", 0)):
        output = str(tmp_path / str(hold_out))
        run_train(TrainOptions(LogSource(str(path)), world.embeddings, output, hold_out=hold_out))
        facts.append(read_model_facts(output))
    assert [each.hold_out for each in facts] == [2, 0]
    assert facts[0].metrics == facts[1].metrics
    assert facts[0].noise_reference.tolist() == facts[1].noise_reference.tolist()


def test_the_model_directory_is_whole_and_its_parts_know_one_another(world):
    facts = read_model_facts(world.model)
    assert facts.fingerprint == fingerprint(world.model)
    assert facts.semantic.encoder == "test-encoder"
    collaborative = read_embeddings(f"{world.model}/collaborative", kind="collaborative")
    assert collaborative.metadata.revision == facts.fingerprint
    assert len(collaborative) == 40
    assert collaborative.present.all()
    model = IADSR.from_pretrained(world.model)
    assert collaborative.vectors.shape[1] == model.packed_width
    assert np.isfinite(collaborative.vectors).all()
    assert model.metrics["interactions"] == 3200


def test_an_output_that_holds_something_is_refused(tmp_path):
    check_output(str(tmp_path / "new"), overwrite=False)
    (tmp_path / "config.json").touch()
    with pytest.raises(InputError, match="already holds a model"):
        check_output(str(tmp_path), overwrite=False)
    check_output(str(tmp_path), overwrite=True)
    (tmp_path / "thesis.doc").touch()
    with pytest.raises(InputError, match=r"thesis\.doc"):
        check_output(str(tmp_path), overwrite=True)


def put(directory, names):
    for name in names:
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(b"somebody's")


@pytest.mark.parametrize(
    "names",
    [
        ["README.md"],
        ["model.safetensors", "README.md"],
        ["collaborative/part-00000.parquet"],
        ["collaborative/part-00000.parquet", "README.md"],
        ["collaborative/notes.txt"],
        ["config.json", "collaborative/notes.txt"],
        ["collaborative/.tmp-0-part-00000.parquet", "README.md"],
    ],
)
def test_files_that_no_training_left_are_never_overwritten(tmp_path, names):
    put(tmp_path, names)
    for overwrite in (False, True):
        with pytest.raises(InputError) as error:
            check_output(str(tmp_path), overwrite)
        assert error.value.code == "OUTPUT-FOREIGN"


@pytest.mark.parametrize("done", range(5))
def test_a_training_that_was_cut_off_while_writing_does_not_stand_in_the_way_of_its_rerun(world, tmp_path, done):
    written = ["collaborative/part-00000.parquet", "model.safetensors", "README.md", "config.json"]
    for name in written[:done]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes((Path(world.model) / name).read_bytes())
    if done < len(written):
        folder, _, name = written[done].rpartition("/")
        put(tmp_path, [f"{folder}/.tmp-0123-{name}"])
        check_output(str(tmp_path), overwrite=False)
        return
    with pytest.raises(InputError, match="already holds a model"):
        check_output(str(tmp_path), overwrite=False)


def trained(world, table) -> TrainingResult:
    """The world's model as if it had just been trained, with its collaborative table."""
    model, nothing = IADSR.from_pretrained(world.model), np.zeros((len(table), 0), np.float32)
    packed = PackedItemVectors(table.vectors, nothing, table.present, np.zeros(len(table), bool))
    return TrainingResult(model, packed.unpack(model.config.collaborative_dimension), {}, [])


def test_what_a_training_that_was_killed_left_is_gone_after_the_next(world, tmp_path):
    put(tmp_path, [".tmp-0-model.safetensors", "collaborative/.tmp-1-part-00000.parquet"])
    table = read_embeddings(f"{world.model}/collaborative", kind="collaborative")
    result = trained(world, table)
    check_output(str(tmp_path), overwrite=False)
    write_model(str(tmp_path), result, table.item_ids)
    there = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()]
    assert sorted(there) == ["README.md", "collaborative/part-00000.parquet", "config.json", "model.safetensors"]
    assert read_model_facts(str(tmp_path)).fingerprint == read_model_facts(world.model).fingerprint


def test_rules_that_leave_nothing_to_train_on_are_an_error_that_names_them(world, tmp_path):
    rules = RuleOptions(min_user_interactions=1000)
    options = TrainOptions(LogSource(world.interactions), world.embeddings, str(tmp_path / "model"), rules=rules)
    with pytest.raises(InputError, match="leave nothing") as error:
        run_train(options)
    assert (error.value.code, error.value.found) == ("TRAIN-RULES", "core 3,200")
    assert not (tmp_path / "model").exists()


def test_a_second_run_into_one_directory_is_refused_before_it_trains(world, tmp_path):
    output = str(tmp_path / "model")
    with locked(output), pytest.raises(InputError, match="Another run is writing"):
        run_train(TrainOptions(LogSource(world.interactions), world.embeddings, output))
    assert list((tmp_path / "model").iterdir()) == []


def test_an_output_inside_the_log_or_the_embeddings_is_refused(world):
    log = world.interactions
    for source, output in (log, f"{log}/model"), (f"{log}/**.parquet", f"{log}/model"), (log, f"{world.embeddings}/m"):
        with pytest.raises(InputError, match="lies inside the input"):
            run_train(TrainOptions(LogSource(source), world.embeddings, output))
        assert not Path(output).exists()


def test_all_files_of_a_model_reach_the_disk_the_configuration_last(world, tmp_path, monkeypatch):
    table = read_embeddings(f"{world.model}/collaborative", kind="collaborative")
    result = trained(world, table)
    synced = []
    monkeypatch.setattr(os, "fsync", lambda handle: synced.append(os.fstat(handle).st_ino))
    write_model(str(tmp_path), result, table.item_ids)
    names = ["collaborative/part-00000.parquet", "model.safetensors", "README.md", "config.json"]
    written = [(tmp_path / name).stat().st_ino for name in names]
    assert [inode for inode in synced if inode in written] == written


def quick(**options):
    """Training options that take a second."""
    once = {"collaborative_epochs": 2, "alignment_epochs": 2, "context_epochs": 1, "head_epochs": 2, "negatives": 16}
    return TrainingConfig(**(once | {"batch_positions": 2048} | options))


def contents(directory):
    return {path.relative_to(directory): path.read_bytes() for path in Path(directory).rglob("*") if path.is_file()}


class StoppedError(Exception):
    """Stands for a kill."""


@pytest.fixture
def trains_quickly(monkeypatch):
    monkeypatch.setattr(train_command, "TrainingConfig", quick)
    monkeypatch.setattr(train_command, "train_model", partial(train_model, seconds_between=0))


def stopping(monkeypatch, writes):
    """Lets a training keep something so often, and then stops it."""
    write, left = KeptFiles.write, [writes]

    def counted(self, name, content):
        if left[0] == 0:
            raise StoppedError
        left[0] -= 1
        write(self, name, content)

    monkeypatch.setattr(KeptFiles, "write", counted)


def test_a_training_goes_on_where_it_was_stopped_and_ends_with_the_same_bytes(world, tmp_path, capsys, trains_quickly):
    def run(output, **options):
        console = Console(force_terminal=False)
        source = LogSource(world.interactions)
        return run_train(TrainOptions(source, world.embeddings, str(tmp_path / output), **options), Progress(console))

    run("whole", workers=1)
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, writes=3)
        with pytest.raises(StoppedError):
            run("model", workers=1)
    assert (tmp_path / "model" / ".staging" / "collaborative.safetensors").exists()
    capsys.readouterr()
    run("model", workers=3)
    said = capsys.readouterr().out
    assert f"Resuming the unfinished training in {tmp_path}/model: begun or done are next-item prediction" in said
    assert contents(tmp_path / "model") == contents(tmp_path / "whole")

    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, writes=1)
        with pytest.raises(StoppedError):
            run("other", workers=1)
    capsys.readouterr()
    run("other", workers=1, seed=1)
    assert "Starting from the beginning: the unfinished training in" in (said := capsys.readouterr().out)
    assert "differs in options." in said
    assert not (tmp_path / "other" / ".staging").exists()


def test_what_a_training_keeps_is_known_and_what_others_keep_is_not(tmp_path):
    staging, said = tmp_path / ".staging", []
    files = KeptFiles.open(str(tmp_path), {"log": "1"}, said.append)
    files.write("head.safetensors", lambda file: file.write(b"h"))
    check_output(str(tmp_path), overwrite=False)
    assert KeptFiles.open(str(tmp_path), {"log": "1"}, said.append).read("head.safetensors") == b"h"
    assert files.read("context.safetensors") is None
    (staging / "training.json").write_text("no JSON")
    assert KeptFiles.open(str(tmp_path), {"log": "1"}, said.append).read("head.safetensors") is None
    assert ["Resuming" in said[0], "left a damaged mark" in said[1]] == [True, True]
    (staging / "training.json").unlink()
    (staging / "run.json").touch()  # an unfinished run of clean
    with pytest.raises(InputError) as error:
        check_output(str(tmp_path), overwrite=True)
    assert error.value.code == "OUTPUT-FOREIGN"


def test_a_large_log_trains_the_net_on_a_sample_of_users_and_says_so(world, tmp_path, trains_quickly):
    def run(output, users):
        options = TrainOptions(LogSource(world.interactions), world.embeddings, str(tmp_path / output), users=users)
        return run_train(options)

    sampled, whole = run("sampled", 150), run("whole", 400)
    assert "The net was trained on 150 of these users" in str(sampled)
    assert "The net was trained on" not in str(whole)
    assert (sampled.metrics["users"], sampled.metrics["interactions"]) == (400, 3200)
    assert sampled.metrics["inserted_interactions"] < 0.5 * whole.metrics["inserted_interactions"]
    for output in ("sampled", "whole"):
        table = read_embeddings(str(tmp_path / output / "collaborative"), kind="collaborative")
        assert table.present.all()
    with pytest.raises(InputError) as error:
        run("few", 12)
    assert error.value.code == "TRAIN-SMALL"
    assert "--users" in (error.value.fix or "")
