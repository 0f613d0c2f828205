import dataclasses

import pytest
import torch
from torch.nn import functional as F

from iadsr.models.backbones import read_items
from iadsr.models.config import BACKBONES, IADSRConfig
from iadsr.models.iadsr import FEATURES, IADSR, SIMILARITIES, Batch

CONFIG = IADSRConfig(
    collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10, head_dimension=8, max_length=9
)


def make(backbone="gru4rec"):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = IADSR(dataclasses.replace(CONFIG, backbone=backbone))
        for chance in model.chances:
            chance.measure(torch.randn(20, len(chance.mean)), torch.ones(20))
    return model.eval()


def make_batch(lengths, steps, seed=0, has_semantic=None):
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(steps)[None] < torch.tensor(lengths)[:, None]
    shape = len(lengths), steps
    return Batch(
        torch.randn(*shape, 6, generator=generator),
        torch.randn(*shape, 10, generator=generator),
        mask,
        mask.clone(),
        mask if has_semantic is None else has_semantic & mask,
    )


def cosine(a, b):
    return F.cosine_similarity(a, b, dim=-1)


def test_similarities_are_the_papers_with_the_item_left_out():
    model, batch = make(), make_batch([5], 5)
    with torch.no_grad():
        interests = model.interests(batch)
        values, defined = model.similarities(interests, batch)
        c = model.backbone(read_items(batch.collaborative), batch.mask)[0]
        for t in range(5):
            rest = [u for u in range(5) if u != t]
            semantic = batch.semantic[0, t] @ model.short_semantic.weight.T
            long_semantic = batch.semantic[0, rest].mean(0) @ model.long_semantic.weight.T
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
        c, e = interests.collaborative[0], batch.collaborative[0]
        torch.testing.assert_close(found["expected"][1:], cosine(model.predict(c[:-1]), e[1:]))
        torch.testing.assert_close(found["next_with_item"][:-1], cosine(model.predict(c[:-1]), e[1:]))
        torch.testing.assert_close(found["next_without_item"][1:-1], cosine(model.predict(c[:-2]), e[2:]))
        torch.testing.assert_close(found["expected_text"][1:], cosine(c[:-1], interests.semantic[0, 1:]))
    assert shown["expected"] == shown["expected_text"] == [False, True, True, True]
    assert shown["next_with_item"] == [True, True, True, False]
    assert shown["next_without_item"] == [False, True, True, False]


def test_succession_asks_what_the_backbone_expects_after_one_item_alone():
    model, batch = make(), make_batch([3], 3)
    with torch.no_grad():
        view = model.views(batch)[1]
        similarity = view.queries[0] @ view.keys[0].T
        unit = F.normalize(batch.collaborative[0], dim=-1)
        after = [
            F.normalize(model.predict(model.backbone(read_items(e[None, None]), torch.ones(1, 1))[0, 0]), dim=-1)
            for e in unit
        ]
    for i in range(3):
        for j in range(3):
            torch.testing.assert_close(similarity[i, j], (after[i] @ unit[j] + after[j] @ unit[i]) / 2)


@pytest.mark.parametrize("length", [1, 2, 4])
@pytest.mark.parametrize("backbone", BACKBONES)
def test_padding_changes_no_score(backbone, length):
    model = make(backbone)
    short, long = make_batch([length], length), make_batch([length, 9], 9)
    padded = Batch(
        *(torch.cat([a, b[:1, length:]], 1) for a, b in zip(vars(short).values(), vars(long).values(), strict=True))
    )
    with torch.no_grad():
        for alone, beside in zip(model(short), model(padded), strict=True):
            torch.testing.assert_close(alone, beside[:, :length])


@pytest.mark.parametrize("change", [{"max_length": 2}, {"backbone": "sasrec", "hidden_dimension": 9}])
def test_a_shape_that_cannot_work_is_refused(change):
    with pytest.raises(ValueError, match="expected"):
        dataclasses.replace(CONFIG, **change)


def test_hidden_text_has_no_influence():
    model = make()
    hidden = torch.tensor([[True, False, True, False]])
    batch = make_batch([4], 4, has_semantic=hidden)
    other = dataclasses.replace(batch, semantic=batch.semantic + 5 * ~hidden[..., None])
    with torch.no_grad():
        for first, second in zip(model(batch), model(other), strict=True):
            torch.testing.assert_close(first, second)


def test_the_length_of_an_item_vector_has_no_influence():
    # Borrowed vectors are means of unit vectors, so they are shorter.
    model, batch = make(), make_batch([5], 5)
    shorter = dataclasses.replace(batch, collaborative=batch.collaborative * 0.3)
    with torch.no_grad():
        torch.testing.assert_close(model(batch)[0], model(shorter)[0])


def test_calibration_moves_the_probability():
    model, batch = make(), make_batch([5], 5)
    with torch.no_grad():
        before = model(batch)[0]
        model.calibration.copy_(torch.tensor([2.0, -1.0]))
        torch.testing.assert_close(torch.logit(model(batch)[0]), 2 * torch.logit(before) - 1, rtol=1e-3, atol=1e-3)


def test_reduced_text_keeps_at_most_the_components_it_has():
    assert make().reduce_semantic(torch.randn(3, 10)).shape == (3, 10)
    few = IADSR(dataclasses.replace(CONFIG, semantic_components=4))
    assert few.reduce_semantic(torch.randn(3, 10)).shape == (3, 4)
