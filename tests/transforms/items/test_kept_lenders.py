import numpy as np
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.vectors import neighbours
from iadsr.models.vectors.neighbours import lenders_of
from iadsr.transforms.files.run_paths import StagingPaths
from iadsr.transforms.items.kept_lenders import CHECKED_ITEMS, LenderKeeping

KNOWN, NEW = 40, 300


@pytest.fixture
def texts() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(KNOWN + NEW, 8)).astype(np.float32)


@pytest.fixture
def kept(texts, tmp_path) -> str:
    path = str(tmp_path / "earlier.npz")
    LenderKeeping(path).find(texts[:KNOWN], texts[KNOWN:])
    return path


@pytest.fixture
def asked(monkeypatch) -> list[int]:
    """The numbers of items whose lenders were looked for."""
    numbers = []

    def counting(known, new, **options):
        numbers.append(len(new))
        return lenders_of(known, new, **options)

    monkeypatch.setattr(neighbours, "lenders_of", counting)
    return numbers


def assert_found(keeping: LenderKeeping, known: np.ndarray, new: np.ndarray) -> None:
    for mine, expected in zip(keeping.find(known, new), lenders_of(known, new), strict=True):
        assert mine.tobytes() == expected.tobytes()


def test_only_new_items_are_looked_for_and_some_to_see_if_they_are_the_same(texts, kept, asked, tmp_path):
    changed = texts[KNOWN:][::-1].copy()
    changed[5] += 1
    keeping = LenderKeeping(str(tmp_path / "later.npz"), kept)
    assert_found(keeping, texts[:KNOWN], changed)
    assert_found(LenderKeeping(str(tmp_path / "third.npz"), keeping.path), texts[:KNOWN], changed)
    assert asked == [1 + CHECKED_ITEMS, CHECKED_ITEMS]


def test_other_lenders_change_everything(texts, kept, asked, tmp_path):
    lending = texts[:KNOWN].copy()
    lending[3] += 1
    assert_found(LenderKeeping(str(tmp_path / "later.npz"), kept), lending, texts[KNOWN:])
    assert asked == [NEW]


def test_what_another_machine_has_found_is_not_taken_over(texts, kept, asked, tmp_path):
    with np.load(kept) as file:
        arrays = dict(file)
    arrays["weights"] = np.nextafter(arrays["weights"], np.float32(9))
    np.savez(kept, **arrays)
    assert_found(LenderKeeping(str(tmp_path / "later.npz"), kept), texts[:KNOWN], texts[KNOWN:])
    assert asked == [CHECKED_ITEMS, NEW]


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_that_is_missing_or_damaged_knows_nothing(texts, asked, tmp_path, content):
    path = tmp_path / "earlier.npz"
    if content is not None:
        path.write_bytes(content)
    assert_found(LenderKeeping(str(tmp_path / "later.npz"), str(path)), texts[:KNOWN], texts[KNOWN:])
    assert asked == [NEW]


def test_nothing_is_kept_when_the_run_does_not_go_on(texts, tmp_path):
    class Ended(StagingPaths):
        def check_still_ours(self) -> None:
            raise InputError("The run has ended", code="OUTPUT-TAKEN", found="another", fix="none")

    path = tmp_path / "lenders.npz"
    with pytest.raises(InputError, match="ended"):
        LenderKeeping(str(path), paths=Ended("staging")).find(texts[:KNOWN], texts[KNOWN:])
    assert not path.exists()
