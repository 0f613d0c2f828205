import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.datasets import PROTECTED, Dataset, Setting, make_trial, read_dataset
from iadsr.models.core.errors import InputError
from iadsr.models.core.sequences import Sequences
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.items.embedding_files import write_embeddings
from iadsr.transforms.items.embedding_table import EmbeddingMetadata, EmbeddingTable


@pytest.fixture
def dataset():
    items = np.random.default_rng(0).integers(0, 50, 3000)
    sequences = Sequences.from_lengths(items, np.full(300, 10))
    return Dataset("toy", sequences, np.zeros((50, 4), np.float32), np.ones(50, bool), items < 5)


@pytest.fixture
def directory(tmp_path):
    log = {
        "user_id": [1, 1, 2, 2, 2],
        "item_id": [10, 11, 11, 10, 12],
        "timestamp": [5, 4, 1, 2, 3],
        "rating": [2.0, 3.0, None, 1.0, 5.0],
        "returned": [True, False, False, None, False],
    }
    (tmp_path / "toy").mkdir()
    pq.write_table(pa.table(log), tmp_path / "toy" / "interactions.parquet")
    metadata = EmbeddingMetadata("semantic", "test", "1", "mean", 2)
    vectors = np.array([[1, 2], [3, 4]], np.float32)
    table = EmbeddingTable(pa.array([10, 12]), vectors, np.ones(2, bool), None, metadata)
    write_embeddings(table, str(tmp_path / "embeddings" / "toy"))
    return tmp_path


@pytest.mark.parametrize("kind", ["insert", "replace"])
def test_noise_stays_clear_of_the_last_interactions_which_are_not_measured(dataset, kind):
    trial = make_trial(dataset, Setting(kind, "popular", 0.2), 0)
    sequences = trial.dataset.sequences
    assert len(trial.noise) == len(trial.measured) == len(sequences.items)
    assert trial.noise.mean() == pytest.approx(0.2, abs=0.01)
    assert not trial.noise[~trial.measured].any()
    assert (~trial.measured).sum() == PROTECTED * 300
    ends = sequences.offsets[1:, None] - np.arange(1, PROTECTED + 1)
    assert (sequences.items[ends] == dataset.sequences.items.reshape(300, 10)[:, [9, 8]]).all()
    assert trial.dataset.label is None
    again, other = (make_trial(dataset, Setting(kind, "popular", 0.2), seed) for seed in (0, 1))
    assert (again.dataset.sequences.items == sequences.items).all()
    assert not np.array_equal(other.dataset.sequences.items, sequences.items)


def test_a_label_is_the_noise_of_the_log_as_it_is_and_no_scorer_sees_it(dataset):
    trial = make_trial(dataset, Setting("label", "x<5", 0.0), 0)
    assert (trial.noise == dataset.label).all()
    assert trial.measured.all()
    assert trial.dataset.sequences is dataset.sequences
    assert trial.dataset.label is None


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("rating<3", [False, True, False, True, False]),  # in the order of time
        ("rating>2.5", [True, False, False, False, True]),
        ("returned", [False, True, False, False, False]),
        (None, None),
    ],
)
def test_a_log_is_read_with_its_embeddings_and_its_label(directory, label, expected):
    dataset = read_dataset(str(directory / "toy"), str(directory / "embeddings"), InteractionColumns(), label)
    assert dataset.name == "toy"
    assert dataset.sequences.items.tolist() == [1, 0, 1, 0, 2]
    assert dataset.sequences.offsets.tolist() == [0, 2, 5]
    assert dataset.has_semantic.tolist() == [True, False, True]
    assert dataset.semantic[2].tolist() == [3, 4]
    assert (None if dataset.label is None else dataset.label.tolist()) == expected


@pytest.mark.parametrize("label", ["rating<", "rating=3", "nothing>1"])
def test_a_label_that_cannot_be_used_is_refused(directory, label):
    with pytest.raises(InputError):
        read_dataset(str(directory / "toy"), str(directory / "embeddings"), InteractionColumns(), label)
