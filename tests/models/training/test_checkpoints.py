import dataclasses
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch

from iadsr.models.core.sequences import Sequences
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.training.checkpoints import Checkpoint, Pace, generator_states, identity_of, restore_generators
from iadsr.models.training.train_model import train_model
from iadsr.models.training.training_config import TrainingConfig

CONFIG = IADSRConfig(collaborative_dimension=8, hidden_dimension=12, head_dimension=8, max_length=12)
TRAINING = TrainingConfig(
    collaborative_epochs=3, alignment_epochs=2, context_epochs=2, head_epochs=3, negatives=32, context_negatives=16
)


class Folder:
    """Files on the disk. Kills the process after so many writes."""

    def __init__(self, path: Path, writes: int = -1):
        self.path, self.writes = path, writes

    def read(self, name):
        return (self.path / name).read_bytes() if (self.path / name).exists() else None

    def write(self, name, write):
        with open(self.path / f".{name}", "wb") as file:
            write(file)
        if self.writes == 0:  # killed while it writes
            os.kill(os.getpid(), signal.SIGKILL)
        os.replace(self.path / f".{name}", self.path / name)
        self.writes -= 1


def make_log(users=80):
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 14, users)
    items = generator.integers(0, 30, lengths.sum()) % 15 + np.repeat(np.arange(users) % 2 * 15, lengths)
    return Sequences.from_lengths(items, lengths), generator.normal(size=(30, 10)).astype(np.float32), np.ones(30, bool)


def train(files=None, workers=1, training=TRAINING, progress=None):
    return train_model(*make_log(), CONFIG, training, progress, workers=workers, files=files, seconds_between=0)


def bytes_of(result):
    state = {name: tensor.numpy().tobytes() for name, tensor in result.model.state_dict().items()}
    return state | {"vectors": result.vectors.pack().collaborative.tobytes(), "metrics": repr(result.metrics)}


def in_a_child(work) -> int:
    """Does the work in a process of its own, and returns how that ended."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@pytest.fixture(scope="module")
def whole():
    return bytes_of(train())


@pytest.mark.parametrize("workers", [2, 5])
def test_the_number_of_workers_does_not_change_a_byte(whole, workers):
    assert bytes_of(train(workers=workers)) == whole


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_training_that_is_killed_again_and_again_ends_with_the_same_bytes(whole, tmp_path):
    kills = 0
    # While the first stage writes after its first epoch; after one more epoch; and so on, each time a little further.
    for number, writes in enumerate((0, 1, 2, 2, 1, 2)):
        killed = in_a_child(lambda w=writes, n=number: train(Folder(tmp_path, w), workers=1 + n % 2))
        kills += killed == -signal.SIGKILL
    assert kills >= 4
    seen = []
    assert bytes_of(train(Folder(tmp_path), workers=2, progress=seen.append)) == whole
    # What was done is told again, so that progress does not begin at nothing.
    assert [at.epoch for at in seen if at.stage == "collaborative" and at.metrics] == [1, 2, 3]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_training_that_is_killed_between_two_checkpoints_ends_with_the_same_bytes(whole, tmp_path):
    def stop_in(stage, epoch):
        def progress(at):
            if (at.stage, at.epoch) == (stage, epoch) and not at.metrics:
                os.kill(os.getpid(), signal.SIGKILL)

        return progress

    for place in (("collaborative", 2), ("alignment", 2), ("context", 1), ("context", 2), ("head", 2)):
        assert in_a_child(lambda place=place: train(Folder(tmp_path), progress=stop_in(*place))) in (-signal.SIGKILL, 0)
    assert bytes_of(train(Folder(tmp_path))) == whole


def test_finished_stages_are_not_trained_again(whole, tmp_path):
    train(Folder(tmp_path))
    steps = []
    again = train(Folder(tmp_path), progress=lambda at: steps.append(at) if not at.metrics and at.epoch == 1 else None)
    assert bytes_of(again) == whole
    assert {at.stage for at in steps} <= {"others"}


def test_a_damaged_checkpoint_is_as_good_as_none(whole, tmp_path):
    train(Folder(tmp_path))
    for path in tmp_path.glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[: 40 if path.stem == "context" else -100])
    assert Checkpoint(Folder(tmp_path), "context").load() is None
    assert bytes_of(train(Folder(tmp_path))) == whole


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "evil"),)

    torch.save(Evil(), tmp_path / "head.pt")
    assert Checkpoint(Folder(tmp_path), "head").load() is None
    assert not (tmp_path / "evil").exists()


def test_an_identity_names_what_has_changed():
    log, semantic, has_semantic = make_log()
    same = identity_of(log, semantic, has_semantic, CONFIG, TRAINING)
    assert identity_of(*make_log(), CONFIG, TRAINING) == same

    def differs(*arguments):
        other = identity_of(*arguments)
        return [name for name in same if other[name] != same[name]]

    items = log.items.copy()
    items[5] += 1
    assert log.keys is not None
    for changed in (dataclasses.replace(log, items=items), dataclasses.replace(log, keys=log.keys + np.uint64(1))):
        assert differs(changed, semantic, has_semantic, CONFIG, TRAINING) == ["log"]
    assert differs(log, semantic + 1e-3, has_semantic, CONFIG, TRAINING) == ["embeddings"]
    for options in ((CONFIG, dataclasses.replace(TRAINING, seed=1)), (dataclasses.replace(CONFIG, folds=3), TRAINING)):
        assert differs(log, semantic, has_semantic, *options) == ["options"]
    assert differs(log, semantic, has_semantic, CONFIG, TRAINING, "an earlier model") == ["start"]


def test_generators_go_on_where_they_were():
    first = [np.random.default_rng(1), np.random.default_rng(2)]
    first[0].random(3)
    first[1].bytes(5)
    states = generator_states(first)
    expected = [generator.integers(1000, size=4).tolist() for generator in first]
    other = [np.random.default_rng(8), np.random.default_rng(9)]
    restore_generators(other, states)
    assert [generator.integers(1000, size=4).tolist() for generator in other] == expected


def test_the_pace_is_kept():
    assert Pace(0.0).is_due()
    slow = Pace(1000.0)
    assert not slow.is_due()
