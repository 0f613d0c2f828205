import numpy as np
import pytest
import torch

from iadsr.models.detector.dropout import Dropout, seed_dropout


def test_a_share_is_dropped_and_the_rest_keeps_the_mean():
    module = Dropout(0.2)
    ones = torch.ones(200, 300)
    found = module(ones)
    assert sorted(set(found.flatten().tolist())) == [0, pytest.approx(1.25)]
    assert (found == 0).float().mean().item() == pytest.approx(0.2, abs=0.01)
    assert module.eval()(ones) is ones
    assert Dropout(0.0)(ones) is ones


def test_gradients_pass_where_elements_do():
    module, vectors = Dropout(0.5), torch.randn(50, 4).requires_grad_()
    found = module(vectors)
    found.sum().backward()
    assert vectors.grad is not None
    assert torch.equal(vectors.grad, (found != 0) * 2.0)


def test_seeded_modules_draw_alike_whatever_else_draws_and_two_of_one_module_differ():
    def drawn():
        module = torch.nn.Sequential(Dropout(0.5), torch.nn.Identity(), Dropout(0.5))
        seed_dropout(module, np.random.SeedSequence(3))
        torch.rand(5)
        return [part(torch.ones(64)) for part in module]

    first, again = drawn(), drawn()
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))
    assert not torch.equal(first[0], first[2])


def test_an_unseeded_module_follows_the_generator_of_torch():
    def drawn():
        torch.manual_seed(4)
        return Dropout(0.5)(torch.ones(64))

    assert torch.equal(drawn(), drawn())
