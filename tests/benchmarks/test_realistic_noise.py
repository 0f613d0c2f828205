from dataclasses import replace

import numpy as np
import pytest

from benchmarks.realistic_noise import (
    BOT,
    DAY,
    KINDS,
    NEAREST_TEXTS,
    SIMILAR_POPULARITY,
    TRENDING,
    RealLog,
    add_noise,
    take_donors,
)
from iadsr.models.core.sequences import Sequences

ITEMS, CATEGORIES = 400, 40


@pytest.fixture(scope="module")
def log():
    """A log of 300 users, who choose from a few categories each, with times that are multiples of five seconds."""
    generator = np.random.default_rng(0)
    weight = 1 / np.arange(1, ITEMS + 1) ** 0.5
    category = generator.integers(0, CATEGORIES, ITEMS)

    def timed(sequences):
        time = generator.integers(0, 60 * DAY // 5, len(sequences.items)) * 5 + 10**9
        return replace(sequences, times=time[np.lexsort((time, sequences.users))])

    def users(number):
        lengths = generator.integers(5, 30, number)
        rows = []
        for n in lengths:
            liked = np.isin(category, generator.choice(CATEGORIES, 10, replace=False))
            p = weight * (liked + 1e-9)
            rows.append(generator.choice(ITEMS, n, replace=False, p=p / p.sum()))
        return Sequences.from_lengths(np.concatenate(rows), lengths)

    sequences = timed(users(300))
    semantic = generator.normal(size=(ITEMS, 8)).astype(np.float32)
    return RealLog(sequences, sequences.times, timed(users(60)), semantic, category)


def added(log, kind, rate=0.1, seed=0):
    """The noisy log, and the users and items of its noise."""
    noisy = add_noise(log, (kind,), rate, seed)
    return noisy, noisy.sequences.users[noisy.kind == 0], noisy.sequences.items[noisy.kind == 0]


@pytest.mark.parametrize("kind", KINDS)
def test_noise_leaves_the_log_as_it_is_and_the_last_two_interactions_last(log, kind):
    noisy, users, items = added(log, kind)
    genuine = noisy.kind < 0
    assert noisy.kind[~genuine].tolist() == [0] * len(items)
    assert (noisy.sequences.restrict(genuine).items == log.sequences.items).all()
    assert (noisy.time[genuine] == log.time).all()
    ends = noisy.sequences.offsets[1:]
    assert genuine[ends - 1].all()
    assert genuine[ends - 2].all()
    assert not noisy.measured[np.concatenate([ends - 1, ends - 2])].any()
    assert noisy.measured.sum() == len(genuine) - 2 * len(log.sequences)
    owned = set(zip(log.users.tolist(), log.sequences.items.tolist(), strict=True))
    pairs = list(zip(users.tolist(), items.tolist(), strict=True))
    if kind == "duplicate":
        assert set(pairs) <= owned
    else:
        assert not set(pairs) & owned
        assert len(set(pairs)) == len(pairs)


@pytest.mark.parametrize("kind", ["shared", "list", "text", "import", "single", "duplicate"])
def test_as_much_is_inserted_as_asked_for(log, kind):
    assert (added(log, kind)[0].kind == 0).mean() == pytest.approx(0.1, abs=0.002)


def test_times_stay_in_order_and_in_the_steps_of_the_log(log):
    noisy = add_noise(log, (*KINDS, BOT), 0.3, 1)
    same = np.diff(noisy.sequences.users) == 0
    assert (np.diff(noisy.time)[same] >= 0).all()
    steps = (noisy.time - log.time[0]) % 5
    assert not steps.any()
    # Noise is not all at the time of its neighbour.
    inserted = np.flatnonzero((noisy.kind >= 0) & (noisy.kind < 7))
    assert (noisy.time[inserted] > noisy.time[inserted - 1]).mean() > 0.5


def test_a_shared_account_holds_runs_of_one_donor(log):
    noisy, _, _ = added(log, "shared")
    donors = {tuple(items) for items in np.split(log.donors.items, log.donors.offsets[1:-1])}
    flags = np.flatnonzero(np.diff(np.concatenate([[-1], noisy.kind, [-1]])))
    lengths = flags[1::2] - flags[::2]
    assert np.median(lengths) >= 3
    found = 0
    for begin, end in zip(flags[::2], flags[1::2], strict=True):
        run = noisy.sequences.items[begin:end].tolist()
        # What the user has already is left out of a run, so that the rest is in order but not side by side.
        found += any([item for item in donor if item in run] == run for donor in donors)
    assert found > 0.8 * len(lengths)  # where two runs meet, they are of two donors


def test_a_gift_is_of_one_category_that_the_user_never_chose(log):
    noisy, users, items = added(log, "gift", 0.05)
    own = set(zip(log.users.tolist(), log.category[log.sequences.items].tolist(), strict=True))
    assert len(items) > 100
    assert not own & set(zip(users.tolist(), log.category[items].tolist(), strict=True))
    places = np.flatnonzero(noisy.kind == 0)
    together = np.diff(places) == 1
    alike = log.category[items][1:] == log.category[items][:-1]
    assert together.mean() > 0.3
    assert alike[together].mean() > 0.8


def test_a_misclick_in_a_list_is_as_popular_as_the_next_item(log):
    noisy, _, _ = added(log, "list", 0.02)
    places = np.flatnonzero(noisy.kind == 0)
    places = places[noisy.kind[places + 1] < 0]
    ratio = log.counts[noisy.sequences.items[places]] / log.counts[noisy.sequences.items[places + 1]]
    assert ratio.max() <= SIMILAR_POPULARITY
    assert ratio.min() >= 1 / SIMILAR_POPULARITY


def test_a_misclick_by_text_is_among_the_nearest_texts(log):
    noisy, _, _ = added(log, "text", 0.02)
    places = np.flatnonzero(noisy.kind == 0)
    places = places[noisy.kind[places + 1] < 0]
    unit = log.semantic / np.linalg.norm(log.semantic, axis=1, keepdims=True)
    similarity = unit @ unit[noisy.sequences.items[places + 1]].T
    own = similarity[noisy.sequences.items[places], np.arange(len(places))]
    assert ((similarity > own).sum(0) <= NEAREST_TEXTS).all()


def test_a_trend_is_what_is_popular_in_a_week_for_those_who_do_not_follow(log):
    noisy, users, items = added(log, "trend", 0.03)
    week = (log.time - log.time.min()) // (7 * DAY)
    top = [np.sort(np.bincount(log.sequences.items[week == w], minlength=ITEMS))[-TRENDING] for w in range(9)]
    ok = 0
    places = np.flatnonzero(noisy.kind == 0)
    for place, item in zip(places, items, strict=True):
        nxt = place + 1 + np.argmax(noisy.kind[place + 1 :] < 0)
        w = int((noisy.time[nxt] - log.time.min()) // (7 * DAY))
        ok += np.bincount(log.sequences.items[week == w], minlength=ITEMS)[item] >= top[w]
    assert ok == len(items) > 50
    assert len(np.unique(users)) <= 0.55 * len(log.sequences)


def test_an_import_has_one_time(log):
    noisy, _, _ = added(log, "import", 0.05)
    places = np.flatnonzero(noisy.kind == 0)
    beside = np.diff(places) == 1
    assert (np.diff(noisy.time[places])[beside] == 0).mean() > 0.9


def test_bots_are_users_of_their_own_at_machine_pace(log):
    noisy, users, items = added(log, BOT, 0.2)
    assert noisy.bots.sum() == len(noisy.sequences) - 300 == len(np.unique(users)) >= 3
    assert noisy.measured[noisy.kind == 0].all()
    assert len(items) == pytest.approx(0.25 * len(log.sequences.items), abs=1)
    random, catalogue, popular = (items[users == 300 + nth] for nth in range(3))
    assert (np.diff(catalogue) > 0).all()
    assert (np.diff(log.counts[popular]) <= 0).all()
    assert (np.diff(random) < 0).any()
    assert len(np.unique(random)) == len(random)
    times = noisy.time[noisy.sequences.users == 300]
    assert times[-1] - times[0] < len(times)


def test_the_same_seed_gives_the_same_noise_and_donors(log):
    first, again, other = (add_noise(log, ("shared", "gift", BOT), 0.2, seed) for seed in (5, 5, 6))
    assert (first.sequences.items == again.sequences.items).all()
    assert (first.time == again.time).all()
    assert not np.array_equal(first.sequences.items, other.sequences.items)
    donors = take_donors(log.sequences, 5)
    assert (donors == take_donors(log.sequences, 5)).all()
    assert 0.05 < donors.mean() < 0.15
