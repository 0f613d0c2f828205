import dataclasses

import pytest
import torch
from torch.nn import functional as F

from iadsr.models.core.item_vectors import LIFE_BINS
from iadsr.models.detector.agreement import sequence_agreement
from iadsr.models.detector.backbones import read_items
from iadsr.models.detector.batch import Batch, History, IndexedRows
from iadsr.models.detector.features import AGREEMENTS, FEATURES, FORECASTS, NEIGHBOURHOOD, SIMILARITIES, VIEWS
from iadsr.models.detector.heads import LOGITS
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import BACKBONES, MAX_OVERLAP, IADSRConfig

CONFIG = IADSRConfig(
    collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10, head_dimension=8, max_length=9
)


def make(backbone="gru4rec", **changes):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IADSR(dataclasses.replace(CONFIG, backbone=backbone, **changes))
        for chance in model.chances:
            chance.measure(torch.randn(20, len(chance.mean)), torch.ones(20))
    return model.eval()


def make_batch(lengths, steps, seed=0, has_semantic=None):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps)[None] < torch.tensor(lengths)[:, None]
    shape = len(lengths), steps
    collaborative = F.normalize(torch.randn(*shape, 6, generator=generator), dim=-1)
    by_fold = F.normalize(torch.randn(*shape, 2, 6, generator=generator), dim=-1)
    semantic = torch.randn(*shape, 10, generator=generator)
    everything = torch.ones(shape, dtype=torch.bool)
    lives = torch.randn(*shape, LIFE_BINS, generator=generator)
    vectors = (IndexedRows.of(part) for part in (collaborative, *by_fold.unbind(2), semantic, lives))
    batch = Batch(*vectors, torch.rand(shape, generator=generator), mask, *[everything] * 5)
    return batch.hide(collaborative=~mask, semantic=~mask if has_semantic is None else ~(has_semantic & mask))


def cosine(a, b):
    return F.cosine_similarity(a, b, dim=-1)


def test_similarities_are_the_papers_with_the_item_left_out():
    model, batch = make(), make_batch([5], 5)
    with torch.no_grad():
        interests = model.interests(batch)
        values, defined = model.similarities(interests, batch)
        c = model.backbone(read_items(batch.collaborative.gathered()), batch.mask)[0]
        for t in range(5):
            rest = [u for u in range(5) if u != t]
            semantic = batch.semantic.gathered()[0, t] @ model.short_semantic.weight.T
            long_semantic = batch.semantic.gathered()[0, rest].mean(0) @ model.long_semantic.weight.T
            long_collaborative = c[rest].amax(0)
            expected = [cosine(long_semantic, c[t]), cosine(long_collaborative, semantic), cosine(c[t], semantic)]
            torch.testing.assert_close(values[0, t], torch.stack(expected))
    assert defined.all()
    torch.testing.assert_close(interests.user_collaborative[0], c.amax(0))
    assert len(SIMILARITIES) == 3


def test_forecasts_compare_with_the_item_and_with_the_next():
    model, batch = make(), make_batch([4], 4)
    with torch.no_grad():
        interests = model.interests(batch)
        values, defined = model.features(batch, interests)
        found = {name: values[0, :, FEATURES.index(name)] for name in FEATURES}
        shown = {name: defined[0, :, FEATURES.index(name)].tolist() for name in FEATURES}
        c, e = interests.collaborative[0], batch.collaborative.gathered()[0]
        torch.testing.assert_close(found["expected"][1:], cosine(model.predict(c[:-1]), e[1:]))
        torch.testing.assert_close(found["next_with_item"][:-1], cosine(model.predict(c[:-1]), e[1:]))
        torch.testing.assert_close(found["next_without_item"][1:-1], cosine(model.predict(c[:-2]), e[2:]))
        torch.testing.assert_close(found["expected_text"][1:], cosine(c[:-1], interests.semantic[0, 1:]))
    assert shown["expected"] == shown["expected_text"] == [False, True, True, True]
    assert shown["next_with_item"] == [True, True, True, False]
    assert shown["next_without_item"] == [False, True, True, False]


def test_items_are_compared_by_other_users_by_their_texts_and_by_their_own():
    model = make()
    batch = make_batch([5, 3], 6, has_semantic=torch.tensor([[True, False, True, True, True, True]]))
    batch.has_company[1, 0] = False  # other users know the item, but nothing of what it occurs with
    co_occurrence, company, semantic = model.views(batch)
    assert torch.equal(co_occurrence.present, batch.mask)
    assert torch.equal(co_occurrence.vectors.gathered(), batch.co_occurrence.gathered())
    assert company.present[1].tolist() == [False, True, True, False, False, False]
    assert torch.equal(company.vectors.gathered(), batch.company.gathered())
    assert torch.equal(semantic.present, batch.has_semantic)
    torch.testing.assert_close(semantic.vectors.gathered(), F.normalize(batch.semantic.gathered(), dim=-1))
    for view in (co_occurrence, company, semantic):
        assert view.total is view.count is None  # they are whole histories


def test_features_are_the_agreement_in_each_view_in_the_order_of_their_names():
    model, batch = make(), make_batch([5, 9], 9)
    size = 3 + len(FORECASTS) + 2 + 3 * len(AGREEMENTS) + len(NEIGHBOURHOOD)
    assert len(FEATURES) == len(set(FEATURES)) == size
    with torch.no_grad():
        values, defined = model.features(batch, model.interests(batch))
        for view, name, chance in zip(model.views(batch), VIEWS, model.chances, strict=True):
            expected, shown = sequence_agreement(view, chance(view.vectors.gathered()))
            for number, agreement in enumerate(AGREEMENTS):
                column = FEATURES.index(f"{name}_{agreement}")
                torch.testing.assert_close(values[..., column], expected[..., number])
                assert torch.equal(defined[..., column], shown[..., number])
    for name in NEIGHBOURHOOD:
        column, of = FEATURES.index(f"neighbours_{name}"), FEATURES.index(name)
        # The sixth of nine interactions, and the last of five.
        for user, at, near in ((1, 5, [2, 3, 4, 6, 7, 8]), (0, 4, [1, 2, 3])):
            torch.testing.assert_close(values[user, at, column], values[user, near, of].mean())
    assert values.shape == defined.shape == (2, 9, len(FEATURES))
    assert not values[~defined].any()


def test_a_window_of_a_longer_history_is_compared_with_all_of_it():
    model, batch = make(), make_batch([4, 4], 4)
    totals = tuple(torch.randn(2, len(chance.mean)) for chance in model.chances)
    history = History(torch.tensor([False, True]), torch.tensor([7, 50]), totals, torch.full((2, 3), 50.0))
    of_history = dataclasses.replace(batch, history=history)
    assert of_history.length.tolist() == [[4.0] * 4, [50.0] * 4]
    for view, alone, total in zip(model.views(of_history), model.views(batch), totals, strict=True):
        assert torch.equal(view.total[1], total[1])
        assert view.count.tolist() == [0, 50]  # the first is a whole history
        assert torch.equal(view.vectors.gathered(), alone.vectors.gathered())
    with torch.no_grad():
        found, expected = model(of_history)[0], model(batch)[0]
    torch.testing.assert_close(found[0], expected[0])
    assert not torch.isclose(found[1], expected[1], atol=1e-4).any()


def test_the_papers_interests_have_read_the_item_and_its_score_is_minus_the_sum():
    model, batch = make(head="paper"), make_batch([5, 3], 5)
    with torch.no_grad():
        interests = model.interests(batch)
        values, defined = model.features(batch, interests)
        probability, similarities, shown, _ = model(batch)
        c = model.backbone(read_items(batch.collaborative.gathered()), batch.mask)
        for b, length in enumerate((5, 3)):
            short = batch.semantic.gathered()[b, :length] @ model.short_semantic.weight.T
            long_semantic = batch.semantic.gathered()[b, :length].mean(0) @ model.long_semantic.weight.T
            long_collaborative = c[b, :length].amax(0)
            for t in range(length):
                expected = [
                    cosine(long_semantic, c[b, t]),
                    cosine(long_collaborative, short[t]),
                    cosine(c[b, t], short[t]),
                ]
                torch.testing.assert_close(values[b, t], torch.stack(expected))
                alone = torch.sigmoid(-torch.stack(expected).sum())
                torch.testing.assert_close(probability[b, t], alone.expand(LOGITS))
    assert values.shape == (2, 5, 3)
    assert torch.equal(defined[..., 0], batch.mask)
    assert torch.equal(similarities, values)
    assert torch.equal(shown, defined)


def test_the_papers_head_reads_nothing_of_other_users():
    model, batch = make(head="paper"), make_batch([5], 5)
    flipped = {name: IndexedRows.of(getattr(batch, name).gathered().flip(1)) for name in ("co_occurrence", "company")}
    other = dataclasses.replace(batch, **flipped)
    with torch.no_grad():
        assert torch.equal(model(batch)[0], model(other)[0])
        assert not torch.equal(make()(batch)[0], make()(other)[0])


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_padding_changes_no_score(pad, backbone, length):
    model = make(backbone)
    short = make_batch([length], length)
    padded = pad(short, 9)
    with torch.no_grad():
        for alone, beside in zip(model(short), model(padded), strict=True):
            torch.testing.assert_close(alone, beside[:, :length])


@pytest.mark.parametrize("change", [{"max_length": 2}, {"folds": 1}, {"backbone": "sasrec", "hidden_dimension": 9}])
def test_a_shape_that_cannot_work_is_refused(change):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(CONFIG, **change)


def test_an_item_holds_its_own_vector_and_two_of_each_fold_and_its_life():
    assert make().packed_width == 6 * (1 + 2 * 5) + 5 * LIFE_BINS
    assert make(folds=3).packed_width == 6 * 7 + 3 * LIFE_BINS
    assert make(head="paper").packed_width == 6


@pytest.mark.parametrize("max_length", [3, 4, 30, 100, 1000])
def test_windows_overlap_by_less_than_half(max_length):
    overlap = dataclasses.replace(CONFIG, max_length=max_length).overlap
    assert 2 * overlap < max_length
    assert overlap == (MAX_OVERLAP if max_length >= 40 else max_length // 4)


def test_calibration_moves_the_probability():
    model, batch = make(), make_batch([5], 5)
    with torch.no_grad():
        before = model(batch)[0]
        scale, shift = torch.tensor([2.0, 0.5]), torch.tensor([-1.0, 3.0])
        model.calibration.copy_(torch.stack([scale, shift]))
        expected = scale * torch.logit(before) + shift
        torch.testing.assert_close(torch.logit(model(batch)[0]), expected, rtol=1e-3, atol=1e-3)


def test_the_head_sees_no_history_shorter_than_the_shortest():
    model, features = make(), torch.randn(3, len(FEATURES), generator=torch.Generator().manual_seed(0))
    defined, length = torch.ones_like(features, dtype=torch.bool), torch.tensor([2.0, 5.0, 9.0])

    def logits(lengths):
        with torch.no_grad():
            return model.head_logit(features[:1].expand(3, -1), defined, lengths)[:, 0]

    assert len(logits(length).unique()) == 3
    model.shortest_history.fill_(6)
    assert torch.equal(logits(length), logits(torch.tensor([6.0, 6.0, 9.0])))
    assert len(logits(length).unique()) == 2


def test_reduced_text_keeps_at_most_the_components_it_has():
    assert make().reduce_semantic(torch.randn(3, 10)).shape == (3, 10)
    few = IADSR(dataclasses.replace(CONFIG, semantic_components=4))
    assert few.reduce_semantic(torch.randn(3, 10)).shape == (3, 4)


def test_activity_is_read_between_the_points_of_an_items_life_and_is_no_bonus():
    model, batch = make(), make_batch([5], 5)
    life = -torch.arange(LIFE_BINS, dtype=torch.float32)  # ever less often
    life[0] = 2.0
    moments = torch.tensor([[0.0, 1.5, 5.25, LIFE_BINS, torch.nan]]) / LIFE_BINS
    batch = dataclasses.replace(batch, lives=IndexedRows.of(life.expand(1, 5, -1)), moments=moments)
    values, defined = model.activity(batch)
    assert defined[..., 0].tolist() == [[True, True, True, True, False]]
    torch.testing.assert_close(values[0, :, 0], torch.tensor([0.0, -1.0, -4.75, 1.0 - LIFE_BINS, 0.0]))
    assert not model.activity(dataclasses.replace(batch, has_life=~batch.has_life))[1].any()
