import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iadsr.models.core.sequences import Sequences
from iadsr.models.noise.insertion import (
    MAX_BLOCK,
    MAX_RUN,
    MIN_BLOCK,
    MIN_RUN,
    NOISE_KINDS,
    NoiseMix,
    insert_noise,
    replace_noise,
)


def random_log(users=400, items=60, seed=0):
    """A log with popular and rare items, in which no user has an item twice."""
    generator = np.random.default_rng(seed)
    weight = 1 / np.arange(1, items + 1)
    lengths = generator.integers(1, min(items, 15), users)
    rows = [generator.choice(items, n, replace=False, p=weight / weight.sum()) for n in lengths]
    return Sequences.from_lengths(np.concatenate(rows), lengths)


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.6]), st.sampled_from([0, 1, 2, 5]))
def test_removing_the_insertions_restores_the_log_and_the_last_interactions_stay_last(seed, rate, protect_last):
    log = random_log(users=50)
    noisy = insert_noise(log, rate, uniform_share=0.5, seed=seed, protect_last=protect_last)
    restored = noisy.sequences.restrict(~noisy.inserted)
    assert (restored.items == log.items).all()
    assert (restored.offsets == log.offsets).all()
    for user in range(len(log)):
        flags = noisy.inserted[noisy.sequences.offsets[user] : noisy.sequences.offsets[user + 1]]
        protected = flags[len(flags) - protect_last :] if protect_last else flags[:0]
        assert not protected.any()
        if log.lengths[user] < protect_last:
            assert not flags.any()


def test_the_share_of_noise_is_the_rate_and_all_gaps_are_equally_likely():
    log = random_log(users=8000)
    noisy = insert_noise(log, 0.2, uniform_share=0.0, seed=1)
    assert noisy.inserted.mean() == pytest.approx(0.2, abs=1e-4)
    first, last = noisy.sequences.offsets[:-1], noisy.sequences.offsets[1:] - 1
    # Each user has one gap more than interactions. A gap gets no insertion with probability exp(-mean).
    expected = 1 - np.exp(-noisy.inserted.sum() / (log.lengths + 1).sum())
    assert noisy.inserted[first].mean() == pytest.approx(expected, rel=0.15)
    assert noisy.inserted[last].mean() == pytest.approx(expected, rel=0.15)


def test_inserted_items_are_new_to_the_user():
    log = random_log(items=12)
    noisy = insert_noise(log, 0.3, uniform_share=0.5, seed=2)
    users = noisy.sequences.users[noisy.inserted]
    owned = set(zip(log.users.tolist(), log.items.tolist(), strict=True))
    given = list(zip(users.tolist(), noisy.sequences.items[noisy.inserted].tolist(), strict=True))
    assert not owned & set(given)
    assert len(given) == len(set(given)) > 500, "no item twice"


def test_a_user_who_then_has_all_items_gets_no_more_insertions():
    log = Sequences.from_lengths(np.array([0, 1, 2, 3, 0, 1, 2]), np.array([4, 3]))
    noisy = insert_noise(log, 0.9, uniform_share=1.0, seed=0)
    assert noisy.sequences.items[noisy.inserted].tolist() == [3]
    assert noisy.sequences.users[noisy.inserted].tolist() == [1]


def test_the_uniform_share_decides_how_popular_inserted_items_are():
    # Users have only few of the items. So it hardly matters that their own items are never drawn.
    generator = np.random.default_rng(3)
    weight = np.repeat([9.0, 1.0], 100)
    items = generator.choice(200, 20_000, p=weight / weight.sum())
    log = Sequences.from_lengths(items, np.full(10_000, 2))
    for uniform_share, expected in ((0.0, 0.9), (1.0, 0.5), (0.5, 0.7)):
        noisy = insert_noise(log, 0.3, uniform_share=uniform_share, seed=4)
        popular = (noisy.sequences.items[noisy.inserted] < 100).mean()
        assert popular == pytest.approx(expected, abs=0.02)


def test_only_items_of_the_log_are_inserted():
    log = Sequences.from_lengths(np.array([3, 9, 9, 20] * 50), np.full(100, 2))
    noisy = insert_noise(log, 0.4, uniform_share=1.0, seed=0)
    assert set(noisy.sequences.items[noisy.inserted].tolist()) <= {3, 9, 20}
    assert noisy.sequences.items.dtype == np.int32


def test_the_same_seed_gives_the_same_noise():
    log = random_log()
    first, again, other = (insert_noise(log, 0.2, uniform_share=0.5, seed=seed) for seed in (5, 5, 6))
    assert (first.sequences.items == again.sequences.items).all()
    assert (first.inserted == again.inserted).all()
    assert not np.array_equal(first.sequences.items, other.sequences.items)


@pytest.mark.parametrize("add_noise", [insert_noise, replace_noise])
def test_noise_does_not_change_the_keys_of_users(add_noise):
    log = random_log(users=30)
    keys = np.arange(30, dtype=np.uint64)[::-1] * np.uint64(7)
    keyed = Sequences(log.items, log.offsets, keys)
    assert add_noise(keyed, 0.2, uniform_share=0.5, seed=0).sequences.keys.tolist() == keys.tolist()


def test_users_who_have_all_items_get_no_insertions():
    log = Sequences.from_lengths(np.array([0, 1, 0, 1]), np.array([2, 2]))
    noisy = insert_noise(log, 0.5, uniform_share=0.5, seed=0)
    assert not noisy.inserted.any()
    assert noisy.sequences.items.tolist() == [0, 1, 0, 1]


def test_an_empty_log_or_a_rate_of_zero_gets_no_insertions():
    empty = Sequences.from_lengths(np.zeros(0, np.int32), np.zeros(3, np.int64))
    assert len(insert_noise(empty, 0.2, uniform_share=0.5, seed=0).inserted) == 0
    assert not insert_noise(random_log(), 0.0, uniform_share=0.5, seed=0).inserted.any()


@pytest.mark.parametrize("rate", [-0.1, 1.0])
@pytest.mark.parametrize("add_noise", [insert_noise, replace_noise])
def test_a_rate_outside_0_to_1_is_refused(add_noise, rate):
    with pytest.raises(ValueError, match="rate"):
        add_noise(random_log(), rate, uniform_share=0.5, seed=0)


@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.3, 0.9]), st.sampled_from([0, 1, 2, 20]))
def test_only_flagged_interactions_are_replaced_and_by_items_new_to_the_user(seed, rate, protect_last):
    log = random_log(users=50)
    noisy = replace_noise(log, rate, uniform_share=0.5, seed=seed, protect_last=protect_last)
    assert (noisy.sequences.offsets == log.offsets).all()
    assert (noisy.sequences.items[~noisy.inserted] == log.items[~noisy.inserted]).all()
    owned = set(zip(log.users.tolist(), log.items.tolist(), strict=True))
    new = zip(log.users[noisy.inserted].tolist(), noisy.sequences.items[noisy.inserted].tolist(), strict=True)
    assert not owned & set(new)
    for user in range(len(log)):
        assert not noisy.inserted[
            max(log.offsets[user], log.offsets[user + 1] - protect_last) : log.offsets[user + 1]
        ].any()


def test_the_share_of_replaced_interactions_is_the_rate_unless_too_many_are_protected():
    log = random_log(users=4000)
    assert replace_noise(log, 0.2, uniform_share=0.0, seed=1, protect_last=2).inserted.mean() == pytest.approx(
        0.2, abs=1e-4
    )
    unprotected = np.maximum(log.lengths - 2, 0).sum()
    assert replace_noise(log, 0.95, uniform_share=0.0, seed=1, protect_last=2).inserted.sum() == unprotected
    untouched = replace_noise(log, 0.0, uniform_share=0.0, seed=1)
    assert not untouched.inserted.any()
    assert (untouched.sequences.items == log.items).all()


def mixed(log, rate=0.2, seed=0, **shares):
    return insert_noise(log, rate, uniform_share=0.2, seed=seed, mix=NoiseMix(**shares))


def nearest_by_number(items, k=4):
    """The nearest of an item are those with the next numbers."""
    return (np.arange(items)[:, None] + np.arange(1, k + 1)) % items


@settings(max_examples=20)
@given(st.integers(0, 10_000), st.sampled_from([0.05, 0.4]))
def test_noise_of_all_kinds_leaves_the_log_as_it_is_and_gives_nobody_an_item_twice(seed, rate):
    log = random_log(users=80, items=200)
    noisy = mixed(log, rate, seed, run_share=0.3, text_share=0.2, nearest=nearest_by_number(200))
    restored = noisy.sequences.restrict(~noisy.inserted)
    assert (restored.items == log.items).all()
    assert (restored.offsets == log.offsets).all()
    pairs = noisy.sequences.users * 200 + noisy.sequences.items
    assert len(np.unique(pairs)) == len(pairs)
    assert noisy.inserted.mean() == pytest.approx(rate, abs=2e-3)
    assert len(np.unique(noisy.block[~noisy.inserted])) == len(log.items)
    assert not np.isin(noisy.block[noisy.inserted], noisy.block[~noisy.inserted]).any()


def test_a_run_is_a_part_of_another_sequence_of_the_same_fold():
    generator = np.random.default_rng(0)
    lengths = generator.integers(12, 20, 1000)
    items = np.arange(lengths.sum())  # each item has one owner, so nothing is left out of a run
    log = Sequences.from_lengths(items, lengths)
    noisy = mixed(log, 0.1, run_share=1.0, folds=5)
    owner, fold = log.users, log.folds(5)
    sizes, steps = [], []
    for block in np.unique(noisy.block[noisy.inserted]):
        rows = np.flatnonzero(noisy.block == block)
        run, user = noisy.sequences.items[rows], noisy.sequences.users[rows[0]]
        assert (np.diff(rows) == 1).all()
        steps += np.diff(run).tolist()
        assert len(set(owner[run])) == 1
        assert owner[run[0]] != user
        assert fold[owner[run[0]]] == fold[user]
        sizes.append(len(run))
    assert min(steps) == 1
    assert np.mean(steps) < 1.02  # where two runs of one sequence meet in a user, what they share is left out once
    assert set(range(MIN_RUN, MAX_RUN + 1)) <= set(sizes) <= set(range(1, MAX_RUN + 1))
    assert np.mean(sizes) == pytest.approx((MIN_RUN + MAX_RUN) / 2, abs=0.3)


def test_runs_come_from_lenders_only():
    log = Sequences.from_lengths(np.arange(6000), np.full(400, 15))
    lenders = np.arange(400) % 3 == 0
    noisy = mixed(log, 0.2, run_share=1.0, folds=5, lenders=lenders)
    owners = log.users[noisy.sequences.items[noisy.inserted]]
    assert set(owners) <= set(np.flatnonzero(lenders))
    assert len(set(owners)) > 100
    nobody = mixed(log, 0.2, run_share=1.0, folds=5, lenders=np.zeros(400, bool))
    assert nobody.inserted.mean() == pytest.approx(0.2, abs=1e-3)
    assert (np.unique(nobody.block[nobody.inserted], return_counts=True)[1] == 1).all()


def test_noise_by_text_is_near_to_an_interaction_beside_it_and_popular_as_the_rest():
    generator = np.random.default_rng(0)
    lengths = generator.integers(5, 9, 2000)
    popular = generator.random(lengths.sum()) < 0.8  # even items are four times as popular as odd ones
    items = generator.integers(0, 500, lengths.sum()) * 2 + ~popular
    log = Sequences.from_lengths(items, lengths)
    noisy = mixed(log, 0.05, text_share=1.0, nearest=nearest_by_number(1000))
    at = np.flatnonzero(noisy.inserted)
    at = at[(at > 0) & (at < len(noisy.inserted) - 1)]
    at = at[~noisy.inserted[at - 1] & ~noisy.inserted[at + 1]]
    steps = [(noisy.sequences.items[at] - noisy.sequences.items[at + side]) % 1000 for side in (-1, 1)]
    assert np.isin(np.minimum(*steps), [1, 2, 3, 4]).mean() > 0.99
    assert (noisy.sequences.items[at] % 2 == 0).mean() == pytest.approx(0.8, abs=0.03)


def test_without_near_texts_single_items_take_their_place():
    log = random_log(users=200, items=200)
    nothing = np.full((200, 4), -1)
    for mix in ({"text_share": 0.5, "nearest": nothing}, {"text_share": 0.5}):
        noisy = mixed(log, 0.2, **mix)
        assert noisy.inserted.mean() == pytest.approx(0.2, abs=1e-3)


def timed(users=400, length=15, items=300, seed=0):
    """A log in which users come one after the other, and items are chosen for a while only."""
    generator = np.random.default_rng(seed)
    start = np.sort(generator.integers(0, 10**9, users))
    steps = generator.integers(0, 10**5, (users, length))
    times = (start[:, None] + np.cumsum(steps, 1)).ravel()
    chosen = (times / 10**9 * items + generator.normal(0, 3, len(times))).astype(int).clip(0, items - 1)
    return Sequences(chosen.astype(np.int32), np.arange(0, len(times) + 1, length), None, times)


def test_noise_has_a_time_between_those_of_its_neighbours():
    log = timed()
    mix = {"run_share": 0.3, "text_share": 0.2, "block_share": 0.2, "current_share": 0.5}
    noisy = mixed(log, 0.3, nearest=nearest_by_number(300), **mix)
    restored = noisy.sequences.restrict(~noisy.inserted)
    assert (restored.items == log.items).all()
    assert (restored.times == log.times).all()
    inside = np.diff(noisy.sequences.users) == 0
    assert (np.diff(noisy.sequences.times)[inside] >= 0).all()
    assert len(np.unique(noisy.sequences.times[noisy.inserted])) > 0.5 * noisy.inserted.sum()


@pytest.mark.parametrize("kind", ["single", "run"])
def test_current_noise_is_what_others_choose_at_that_time(kind):
    log = timed(users=2000)
    distance = []
    for share in (0.0, 1.0):
        noisy = insert_noise(
            log,
            0.1,
            uniform_share=0.0,
            seed=0,
            mix=NoiseMix(run_share=float(kind == "run"), current_share=share, folds=2),
        )
        usual = noisy.sequences.times / 10**9 * 300
        distance.append(np.median(np.abs(noisy.sequences.items - usual)[noisy.inserted]))
    assert distance[0] > 50
    assert distance[1] < 10


def test_blocks_are_unrelated_items_at_one_place():
    log = random_log(users=400, items=500)
    noisy = mixed(log, 0.2, block_share=1.0)
    blocks, sizes = np.unique(noisy.block[noisy.inserted], return_counts=True)
    assert MIN_BLOCK < np.mean(sizes) <= (MIN_BLOCK + MAX_BLOCK) / 2  # what a user has already is left out
    assert MAX_BLOCK - 2 <= sizes.max() <= MAX_BLOCK
    for block in blocks[:50]:
        rows = np.flatnonzero(noisy.block == block)
        assert len(set(noisy.sequences.users[rows])) == 1
        assert noisy.inserted[rows.min() : rows.max() + 1].all()


def test_every_insertion_says_of_which_kind_it_is():
    log = random_log(users=400, items=1000)
    shares = {"run_share": 0.3, "text_share": 0.2, "block_share": 0.1}
    noisy = mixed(log, 0.2, nearest=nearest_by_number(1000), **shares)
    assert (noisy.kind[~noisy.inserted] == -1).all()
    found = np.bincount(noisy.kind[noisy.inserted], minlength=len(NOISE_KINDS)) / noisy.inserted.sum()
    assert dict(zip(NOISE_KINDS, found, strict=True)) == pytest.approx(
        {"single": 0.4, "run": 0.3, "text": 0.2, "block": 0.1}, abs=0.01
    )
    sizes = np.bincount(noisy.block[noisy.inserted])
    for name, alone in (("single", True), ("text", True), ("run", False), ("block", False)):
        rows = noisy.kind == NOISE_KINDS.index(name)
        assert (sizes[noisy.block[rows]] == 1).all() == alone
    assert (mixed(log).kind[mixed(log).inserted] == 0).all()
