"""The sequences of a finished run, and times that keep their order wherever they are sorted."""

import datetime
import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from iadsr.models.core.errors import ArtifactError, InputError
from iadsr.transforms.contract.columns import InteractionColumns
from iadsr.transforms.export.user_sequences import FinishedRun, moments_of

SECOND = 1_000_000


def moments(timestamps: pa.Array, unit: str | None, offsets=(0, 3)) -> list[int]:
    return moments_of(timestamps, np.array(offsets), InteractionColumns(), unit).tolist()


@pytest.mark.parametrize(
    ("timestamps", "unit"),
    [
        (pa.array([5, 5, 6]), "s"),
        (pa.array([5_000, 5_000, 6_000]), "ms"),
        (pa.array([5_000_000_000, 5_000_000_999, 6_000_000_000]), "ns"),
        (pa.array([5.0, 5.0, 6.0]), "s"),
        (pa.array([5, 5, 6], pa.timestamp("s")), "s"),
        (pa.array([5_000_000_000, 5_000_000_000, 6_000_000_000], pa.timestamp("ns", "UTC")), "ns"),
        (pa.array(["1970-01-01 00:00:05", "1970-01-01T00:00:05Z", "1970-01-01 00:00:06"]), "ns"),
    ],
)
def test_times_of_every_type_become_microseconds_and_equal_ones_are_moved_apart(timestamps, unit):
    assert moments(timestamps, unit) == [5 * SECOND, 5 * SECOND + 1, 6 * SECOND]


def test_days_are_moved_apart_within_each_user_only():
    day = datetime.date(1970, 1, 2)
    timestamps = pa.array([day, day, day, day, day, datetime.date(1970, 1, 3)])
    start = 86_400 * SECOND
    assert moments(timestamps, "ms", (0, 2, 6)) == [start, start + 1, start, start + 1, start + 2, 2 * start]


def test_a_moved_time_pushes_those_that_come_right_after_it():
    assert moments(pa.array([7, 7, 7, 8, 8, 20]), "us", (0, 6)) == [7, 8, 9, 10, 11, 20]


def test_times_that_are_only_an_order_become_places():
    assert moments(pa.array([3, 900, 7_000_000]), None) == [0, SECOND, 2 * SECOND]


@pytest.mark.parametrize(
    ("timestamps", "unit"),
    [
        (pa.array([-(2**63), 5, 2**63 - 1]), "s"),
        (pa.array([-1e300, 5.0, 1e300]), "s"),
        (pa.array(["0001-01-01", "1970-01-01T00:00:05", "9999-12-31"]), "ns"),
    ],
)
def test_values_that_are_no_times_stay_in_order_and_within_what_pandas_holds(timestamps, unit):
    first, second, third = moments(timestamps, unit)
    assert -(2**63) < first * 1000 < second * 1000 == 5 * SECOND * 1000 < third * 1000 < 2**63


def test_moments_are_like_those_of_a_loop():
    generator = np.random.default_rng(0)
    lengths = generator.integers(1, 30, 50)
    offsets = np.append(0, np.cumsum(lengths))
    times = np.concatenate([np.sort(generator.integers(0, 12, length)) for length in lengths])
    expected = []
    for start, end in itertools.pairwise(offsets):
        last = -1
        for time in times[start:end].tolist():
            last = max(time, last + 1)
            expected.append(last)
    assert moments(pa.array(times), "us", offsets) == expected


def test_sequences_are_read_shard_by_shard(run):
    first, second = run.sequences()
    assert (first.user_ids.to_pylist(), second.user_ids.to_pylist()) == (["ann", "bea"], ["cid"])
    assert first.offsets.tolist() == [0, 5, 10]
    assert first.item_ids.to_pylist() == [*"bacad", *"cbdab"]
    assert first.weights.tolist() == [1, 0.25, 1, 1, 1, 0.5, 0, 1, 1, 1]
    assert first.split.tolist() == [0, 0, 0, 1, 2, 0, 0, 0, 1, 2]
    assert first.ranks.tolist() == [0, 1, 2, 3, 4] * 2
    kept = first.only(first.split == 2)
    assert (kept.user_ids.to_pylist(), kept.item_ids.to_pylist()) == (["ann", "bea"], ["d", "b"])
    assert first.only(first.users == 1).offsets.tolist() == [0, 5]
    assert first.only(np.zeros(10, bool)).offsets.tolist() == [0]


def test_a_directory_without_a_manifest_is_no_finished_run(tmp_path):
    with pytest.raises(InputError) as error:
        FinishedRun.open(str(tmp_path))
    assert error.value.code == "OUTPUT-UNFINISHED"


def test_a_file_that_is_gone_or_damaged_is_refused_as_a_changed_one(run):
    path = Path(run.path) / "sequences" / "part-00000-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    for _ in range(2):
        with pytest.raises(ArtifactError, match="EXPORT-CHANGED"):
            list(run.sequences())
        path.unlink(missing_ok=True)


@pytest.mark.parametrize("change", [lambda table: table.slice(1), lambda table: table.drop_columns(["splits"])])
def test_a_file_that_was_changed_is_refused(run, change):
    path = f"{run.path}/sequences/part-00000-of-00002.parquet"
    pq.write_table(change(pq.read_table(path)), path)
    with pytest.raises(ArtifactError) as error:
        list(run.sequences())
    assert error.value.code == "EXPORT-CHANGED"
