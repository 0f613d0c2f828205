import dataclasses

import pytest
import torch

from iadsr.models.detector.features import FEATURES, KIND_SIGNS, SIMILARITIES
from iadsr.models.detector.heads import (
    HEAD_CLASSES,
    LOGITS,
    AgreementHead,
    PaperHead,
    likely_kind,
    logits_of,
    make_head,
)
from iadsr.models.detector.model_config import HEADS, IADSRConfig
from iadsr.models.noise.insertion import NOISE_KINDS

CONFIG = IADSRConfig(head_dimension=8)


def make(name):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make_head(dataclasses.replace(CONFIG, head=name))


def random_inputs(head, rows=5):
    generator = torch.Generator().manual_seed(1)
    number = len(head.feature_names)
    defined = torch.rand(rows, number, generator=generator) < 0.7
    features = torch.randn(rows, number, generator=generator) * defined
    mean, deviation = torch.randn(len(FEATURES), generator=generator), 0.5 + torch.rand(len(FEATURES))
    return features, defined, torch.tensor([1.0, 2, 7, 30, 900]), mean, deviation


def test_the_configuration_names_the_head():
    assert set(HEAD_CLASSES) == set(HEADS)
    assert type(make("agreement")) is AgreementHead
    assert type(make("paper")) is PaperHead


def test_the_agreement_head_reads_standardised_features_which_are_defined_and_the_length():
    head = make("agreement")
    features, defined, length, mean, deviation = random_inputs(head)
    standardised = torch.where(defined, (features - mean) / deviation, 0)
    read = torch.cat([standardised, defined.float(), torch.log(length)[:, None]], 1)
    hidden = torch.relu(torch.nn.functional.linear(read, head[0].weight, head[0].bias))
    hidden = torch.relu(torch.nn.functional.linear(hidden, head[2].weight, head[2].bias))
    kinds = torch.nn.functional.linear(hidden, head[4].weight, head[4].bias)
    torch.testing.assert_close(head.kinds(features, defined, length, mean, deviation), kinds)


def test_odds_add_up_of_all_kinds_and_of_those_that_come_by_themselves():
    odds = torch.tensor([[1.0, 2, 4, 8], [0.5, 0, 0.25, 0]])
    expected = torch.tensor([[15.0, 5], [0.75, 0.75]])
    torch.testing.assert_close(logits_of(odds.log()), expected.log())
    assert logits_of(odds.log()).shape == (2, LOGITS)


def test_a_kind_is_told_if_it_is_more_probable_than_all_others_together():
    odds = torch.tensor([[1.0, 2, 4, 8], [1, 2, 4, 6], [5, 1, 1, 1], [1, 9, 1, 1], [1, 1, 9, 1], [0.1, 0, 0, 0]])
    assert likely_kind(odds.log()).tolist() == [3, 0, 0, 1, 2, 0]
    assert NOISE_KINDS[1:] == KIND_SIGNS


def test_the_papers_head_is_minus_the_sum_whatever_else_is_known():
    head = make("paper")
    features, defined, length, mean, deviation = random_inputs(head)
    kinds = head.kinds(features, defined, length, mean, deviation)
    assert torch.equal(logits_of(kinds), -features.sum(1, keepdim=True).expand(5, LOGITS))
    assert torch.equal(head.kinds(features, ~defined, length + 1, mean + 1, deviation + 1), kinds)
    assert not likely_kind(kinds).any()


def test_heads_say_what_they_read_and_whether_they_train():
    agreement, paper = make("agreement"), make("paper")
    assert (agreement.feature_names, paper.feature_names) == (FEATURES, SIMILARITIES)
    for flag in ("reads_other_users", "leaves_item_out", "trains"):
        assert (getattr(agreement, flag), getattr(paper, flag)) == (True, False)


@pytest.mark.parametrize("name", HEADS)
def test_both_heads_hold_the_same_tensors_under_the_same_names(name):
    shapes = {name: tuple(tensor.shape) for name, tensor in make(name).state_dict().items()}
    inputs = 2 * len(FEATURES) + 1
    assert shapes == {
        "0.weight": (8, inputs),
        "0.bias": (8,),
        "2.weight": (8, 8),
        "2.bias": (8,),
        "4.weight": (len(NOISE_KINDS), 8),
        "4.bias": (len(NOISE_KINDS),),
        "kind_shift": (len(NOISE_KINDS),),
    }
