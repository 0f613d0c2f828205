"""However a log is split into days, the last night in a dataset directory has the bytes of one clean of everything."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iadsr.pipeline import clean
from iadsr.transforms.judge import kept_scores
from iadsr.transforms.run.gates import GATES

USERS, ITEMS, LAST = 12, 8, 40
FEW = settings(max_examples=3, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])

NEW_ROWS = st.lists(
    st.tuples(st.integers(0, USERS - 1), st.integers(0, ITEMS - 1), st.integers(0, LAST)), min_size=4, max_size=12
)
"""User, item and time: some are late, and some are of users who are new."""

CORRECTIONS = st.lists(st.tuples(st.integers(0, 10**6), st.none() | st.integers(0, ITEMS - 1)), max_size=4)
"""Which row, and the item that it should have had. None: the row should not have been there."""

NIGHTS = st.lists(st.tuples(NEW_ROWS, CORRECTIONS, st.none() | st.integers(0, USERS - 1)), min_size=2, max_size=3)
"""New rows, corrections of earlier ones, and a user to be forgotten."""


@dataclass
class GrowingLog:
    """A log of one file for each day."""

    root: Path
    """Folder of the files."""
    days: list[list[tuple[str, str, int]]] = field(default_factory=list)
    """User, item and time of the rows of each file."""
    forgotten: list[str] = field(default_factory=list)
    """Users to be forgotten."""

    def nights(self, changes) -> Iterator[str]:
        """Writes the log as it stands before each night, and yields the id of the night."""
        (self.root / "log").mkdir()
        for night, (rows, corrections, forgotten) in enumerate(changes):
            for place, item in corrections:
                self._correct(place, item)
            self.days.append([(f"user-{user:03d}", f"item-{item:02d}", time) for user, item, time in rows])
            self.forgotten += [] if forgotten is None else [f"user-{forgotten:03d}"]
            self.write()
            yield f"2026-11-{night + 1:02d}"

    def _correct(self, place: int, item: int | None) -> None:
        places = [(day, row) for day, rows in enumerate(self.days) for row in range(len(rows))]
        if places:
            day, row = places[place % len(places)]
            user, _, time = self.days[day].pop(row)
            if item is not None:
                self.days[day].insert(row, (user, f"item-{item:02d}", time))

    def write(self) -> None:
        """Writes the files that have changed, and the list of users to be forgotten."""
        for day, rows in enumerate(self.days):
            path, columns = self.root / "log" / f"{day}.parquet", list(zip(*rows, strict=True)) or [[]] * 3
            types = (pa.string(), pa.string(), pa.int64())
            arrays = [pa.array(values, type_) for values, type_ in zip(columns, types, strict=True)]
            table = pa.table(arrays, names=["user_id", "item_id", "timestamp"])
            if not path.exists() or not pq.read_table(path).equals(table):
                pq.write_table(table, path)
        (self.root / "forget.txt").write_text("".join(f"{user}\n" for user in self.forgotten))


def contents(run: Path) -> dict[str, bytes]:
    """The Parquet files of a run."""
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.rglob("*.parquet"))}


def assert_same_as_at_once(changes, first: list[tuple[str, str, int]], options) -> None:
    """Runs the nights, the first of which has some rows more, and compares the last one with one clean."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        log = GrowingLog(root, [first])
        (root / "gates.yaml").write_text("".join(f"{gate.name}: off\n" for gate in GATES))
        options = {"interactions": root / "log", "forget": root / "forget.txt", "max_rejected": 1, **options}
        for night in log.nights(changes):
            last = clean(dataset=root / "dataset", run_id=night, gates=root / "gates.yaml", **options)
        clean(output=root / "once", **options)
        assert contents(Path(last.output)) == contents(root / "once")


@FEW
@given(changes=NIGHTS)
def test_by_the_rules(changes):
    rules = {"rules_only": True, "repeats": "drop", "min_user_interactions": 2, "min_item_interactions": 2}
    assert_same_as_at_once(changes, [("always", f"item-{item:02d}", item) for item in range(ITEMS)] * 2, rules)


@FEW
@given(changes=NIGHTS)
def test_with_scores_that_are_taken_over(changes, world, monkeypatch):
    monkeypatch.setattr(kept_scores, "CHECKED_USERS", 0)  # so that nothing that is wrong is found and mended
    model = {"embeddings": world.embeddings, "model": world.model, "drop_rate": 0.1, "repeats": "drop", "shards": 2}
    first = [
        (f"user-{user:03d}", f"item-{(user * 3 + item * item) % 40:02d}", item * 5)
        for user in range(USERS)
        for item in range(6)
    ]
    assert_same_as_at_once(changes, first, model)
