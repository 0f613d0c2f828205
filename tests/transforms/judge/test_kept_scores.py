import dataclasses

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iadsr.models.core.item_vectors import PackedItemVectors, packed_width
from iadsr.models.core.sequences import Sequences
from iadsr.models.detector import scoring
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.scoring import score_sequences
from iadsr.transforms.items.joined_items import JoinedItems, item_fingerprints
from iadsr.transforms.items.kept_lenders import LenderKeeping
from iadsr.transforms.judge import kept_scores
from iadsr.transforms.judge.kept_scores import (
    CHECKED_USERS,
    KeptScores,
    ScoreKeeping,
    kept_file,
    look_up,
    read_kept_scores,
    score_asked,
    sequence_fingerprints,
    write_kept_scores,
)

ITEMS, USERS = 30, 200
CONFIG = IADSRConfig(collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10, head_dimension=8)


@pytest.fixture(scope="module")
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return IADSR(CONFIG).eval()


def make_vectors(seed: int = 1) -> PackedItemVectors:
    generator = np.random.default_rng(seed)
    collaborative = generator.normal(size=(ITEMS, packed_width(6, CONFIG.folds))).astype(np.float32)
    semantic = generator.normal(size=(ITEMS, 10)).astype(np.float32)
    return PackedItemVectors(collaborative, semantic, np.arange(ITEMS) % 9 > 0, np.arange(ITEMS) % 7 > 0)


def make_sequences(seed: int = 0) -> Sequences:
    generator = np.random.default_rng(seed)
    lengths = generator.integers(1, 12, USERS)
    keys = generator.integers(0, 2**63, USERS).astype(np.uint64)
    return Sequences.from_lengths(generator.integers(0, ITEMS, lengths.sum()), lengths, keys)


def assert_equal(scores, expected) -> None:
    for name, values in vars(expected).items():
        assert getattr(scores, name).tobytes() == values.tobytes(), name


def backwards(vectors) -> JoinedItems:
    """Items that are in another order in the joined items."""
    turned = PackedItemVectors(**{name: values[::-1] for name, values in vars(vectors).items()})
    return JoinedItems(pa.nulls(ITEMS), pa.nulls(ITEMS), turned, np.zeros(ITEMS, bool), {})


def changed(model, sequences, vectors, sources):
    """Scores those who have changed, or everyone if this machine rounds differently."""
    items, rows = backwards(vectors), np.arange(ITEMS)[::-1]
    lookup = look_up(sequences, items, rows, sources)
    kept = lookup.completed(*score_asked(model, [lookup], items))
    return (kept, int(lookup.found.sum())) if kept else (changed(model, sequences, vectors, ())[0], 0)


@pytest.fixture
def kept(model, tmp_path) -> str:
    """The scores of an earlier run."""
    path = str(tmp_path / kept_file(0, 1))
    scores, taken_over = changed(model, make_sequences(), make_vectors(), [])
    assert taken_over == 0
    write_kept_scores(path, scores)
    return path


@pytest.fixture
def scored(monkeypatch) -> list[int]:
    """The numbers of users that the model was asked about."""
    original, asked = scoring.score_sequences, []

    def counting(model, sequences, vectors, **options):
        asked.append(len(sequences))
        return original(model, sequences, vectors, **options)

    monkeypatch.setattr(scoring, "score_sequences", counting)
    return asked


def test_only_users_who_changed_are_scored_and_all_scores_are_as_if_all_were(model, kept, scored):
    before, vectors = make_sequences(), make_vectors()
    items = before.items.copy()
    items[before.offsets[7]] = (items[before.offsets[7]] + 1) % ITEMS  # user 7 has another item
    order = np.random.default_rng(2).permutation(np.delete(np.arange(USERS), 3))  # user 3 is gone, others have moved
    now, _ = Sequences(items, before.offsets, before.keys).take(order)
    found, taken_over = changed(model, now, vectors, [kept])
    assert taken_over == USERS - 2
    assert scored == [1 + CHECKED_USERS]
    expected = score_sequences(model, now, vectors.unpack(6), cells=2)
    assert_equal(found.scores, expected)
    assert (found.lengths == now.lengths).all()


def test_users_of_several_shards_are_scored_together_and_each_shard_gets_its_own(model, kept, scored):
    items, rows, vectors = backwards(make_vectors()), np.arange(ITEMS)[::-1], make_vectors()
    shards = [make_sequences(), make_sequences(4), make_sequences().take(np.arange(0))[0]]
    lookups = [look_up(shard, items, rows, [kept]) for shard in shards]
    found = [each.completed(scores) for each, scores in zip(lookups, score_asked(model, lookups, items), strict=True)]
    assert scored == [CHECKED_USERS + USERS]
    for sequences, of_shard in zip(shards, found, strict=True):
        assert of_shard is not None
        assert_equal(of_shard.scores, score_sequences(model, sequences, vectors.unpack(6)))


def test_an_item_whose_vectors_changed_changes_its_users(model, kept):
    sequences, vectors = make_sequences(), make_vectors()
    vectors.semantic[5] += 1
    found, taken_over = changed(model, sequences, vectors, [kept])
    with_item = len(np.unique(sequences.users[sequences.items == 5]))
    assert 0 < with_item < USERS
    assert taken_over == USERS - with_item
    assert_equal(found.scores, score_sequences(model, sequences, vectors.unpack(6)))


def test_scores_of_a_machine_that_rounds_differently_are_not_taken_over(model, kept, scored, tmp_path):
    earlier = read_kept_scores(kept)
    assert earlier is not None
    probability = np.nextafter(earlier.scores.noise_probability, np.float32(2))
    other = KeptScores(
        earlier.fingerprints, earlier.lengths, dataclasses.replace(earlier.scores, noise_probability=probability)
    )
    path = str(tmp_path / "other.npz")
    write_kept_scores(path, other)
    found, taken_over = changed(model, make_sequences(), make_vectors(), [path])
    assert taken_over == 0
    assert scored == [CHECKED_USERS, USERS]
    assert_equal(found.scores, earlier.scores)


def test_users_who_are_looked_at_again_have_a_score(model, kept, tmp_path):
    sequences, vectors = make_sequences(), make_vectors()
    alone = np.flatnonzero(sequences.lengths == 1)
    assert len(alone) > 2 * CHECKED_USERS
    # All but three have a single interaction, of which nothing can be said on any machine; and these come first.
    prints = look_up(sequences, backwards(vectors), np.arange(ITEMS)[::-1], []).fingerprints[:, 0]
    last = sorted(np.flatnonzero(sequences.lengths > 4), key=prints.__getitem__)[-3:]
    few, _ = sequences.take(np.sort(np.append(alone, last)))
    scores = score_sequences(model, few, vectors.unpack(6))
    wrong = dataclasses.replace(scores, noise_probability=scores.noise_probability + scores.scored * np.float32(1e-6))
    lookup = look_up(few, backwards(vectors), np.arange(ITEMS)[::-1], [])
    path = str(tmp_path / "wrong.npz")
    write_kept_scores(path, KeptScores(lookup.fingerprints, few.lengths, wrong))
    found, taken_over = changed(model, few, vectors, [path])
    assert taken_over == 0
    assert_equal(found.scores, scores)


@pytest.mark.parametrize("place", [8, 9, 6, -30])
def test_a_file_whose_headers_are_damaged_knows_nobody(kept, place):
    with open(kept, "rb") as file:
        whole = bytearray(file.read())
    central = whole.index(b"PK\x01\x02")
    for at in (place, central + abs(place)):
        for flip in (1, 64, 255):
            damaged = whole.copy()
            damaged[at] ^= flip
            with open(kept, "wb") as file:
                file.write(damaged)
            read_kept_scores(kept)  # raises nothing
    with open(kept, "wb") as file:
        file.write(whole[: central + 8] + b"\x01\x00" + whole[central + 10 :])  # says that it is encrypted
    assert read_kept_scores(kept) is None


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_a_file_that_is_missing_or_damaged_knows_nobody(model, kept, content):
    with open(kept, "rb") as file:
        whole = bytearray(file.read())
    whole[len(whole) // 2] ^= 1
    with open(kept, "wb") as file:
        file.write(whole if content is None else content)
    assert read_kept_scores(kept) is None
    found, taken_over = changed(model, make_sequences(), make_vectors(), [kept, kept + "-missing"])
    assert taken_over == 0
    assert_equal(found.scores, score_sequences(model, make_sequences(), make_vectors().unpack(6)))


def test_fingerprints_tell_users_items_order_and_lengths_apart():
    items = item_fingerprints(make_vectors())
    assert len(np.unique(items, axis=0)) > ITEMS - 2  # items that nothing is known of are the same to the model
    keys = np.array([1, 1, 1, 1, 2, 1, 1], np.uint64)
    sequences = Sequences.from_lengths(
        np.array([1, 2, 2, 1, 1, 1, 1, 2, 1, 1, 2]), np.array([2, 2, 1, 2, 2, 0, 2]), keys
    )
    prints = sequence_fingerprints(sequences, items)
    assert (prints[0] == prints[6]).all()
    assert len(np.unique(prints[:6], axis=0)) == 6
    assert all(len(np.unique(lane)) == 6 for lane in prints[:6].T)


def test_a_run_with_other_shards_looks_into_all_files():
    earlier = tuple(f"dataset/run=1/.scores/{kept_file(shard, 3)}" for shard in range(3))
    assert ScoreKeeping("out", 3, earlier).sources(1) == (earlier[1],)
    assert ScoreKeeping("out", 4, earlier).sources(1) == earlier
    assert ScoreKeeping("out", 4).sources(1) == ()
    assert ScoreKeeping("out", 4).path(1) == "out/part-00001-of-00004.npz"
    with_lenders = ScoreKeeping("out", 4, (*earlier, "dataset/run=1/.scores/lenders.npz"))
    assert with_lenders.sources(1) == earlier
    assert with_lenders.lenders == LenderKeeping("out/lenders.npz", "dataset/run=1/.scores/lenders.npz")
    assert ScoreKeeping("out", 4).lenders == LenderKeeping("out/lenders.npz")


def test_users_whose_times_have_changed_are_known_to_have_changed():
    sequences, items = make_sequences(), item_fingerprints(make_vectors())
    times = np.arange(len(sequences.items))
    timed = dataclasses.replace(sequences, times=times)
    later = times.copy()
    later[sequences.offsets[3]] += 1
    before, after, without = (
        sequence_fingerprints(of, items) for of in (timed, dataclasses.replace(timed, times=later), sequences)
    )
    assert np.flatnonzero((before != after).any(1)).tolist() == [3]
    assert (before != without).any(1).all()


TIMED_ITEMS = st.lists(st.tuples(st.integers(0, ITEMS - 1), st.integers(0, 3)), min_size=1, max_size=5)
NIGHT = st.tuples(st.dictionaries(st.integers(0, 11), TIMED_ITEMS | st.none(), max_size=4), st.integers(1, 3))
"""The users who have changed, with their items and times since then, or None if they are gone; the number of shards."""


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(nights=st.lists(NIGHT, min_size=2, max_size=5))
def test_night_after_night_whoever_has_not_changed_is_taken_over_and_all_scores_are_as_if_none_were(
    model, nights, monkeypatch, tmp_path_factory
):
    monkeypatch.setattr(kept_scores, "CHECKED_USERS", 0)  # so that nothing that is wrong is found and mended
    root, vectors = tmp_path_factory.mktemp("nights"), make_vectors()
    users = {user: [(user + place, place) for place in range(1 + user % 4)] for user in range(8)}
    keeping = ScoreKeeping("", 1)
    for night, (changes, shards) in enumerate(nights):
        before = users
        users = {user: items for user, items in (users | changes).items() if items is not None}
        earlier = tuple(keeping.path(shard) for shard in range(keeping.shards)) if night else ()
        keeping = ScoreKeeping(str(root / str(night)), shards, earlier)
        for shard in range(shards):
            own = sorted(user for user in users if user % shards == shard)
            rows = np.array([pair for user in own for pair in users[user]], np.int64).reshape(-1, 2)
            lengths = np.array([len(users[user]) for user in own], np.int64)
            sequences = Sequences.from_lengths(rows[:, 0], lengths, np.array(own, np.uint64))
            sequences = dataclasses.replace(sequences, times=rows[:, 1])
            found, taken_over = changed(model, sequences, vectors, keeping.sources(shard))
            assert taken_over == (sum(before.get(user) == users[user] for user in own) if night else 0)
            assert_equal(found.scores, score_sequences(model, sequences, vectors.unpack(6)))
            write_kept_scores(keeping.path(shard), found)
