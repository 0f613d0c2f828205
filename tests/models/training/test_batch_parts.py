import numpy as np
import pytest
import torch
from torch import nn

from iadsr.models.detector.dropout import Dropout
from iadsr.models.training.batch_parts import PARTS, BatchParts, parts_of


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, 2.0]))
        self.unused = nn.Parameter(torch.zeros(1))
        self.register_buffer("scale", torch.tensor(3.0))
        self.dropout = Dropout(0.5)

    def forward(self, values):
        return (self.dropout(values) * self.weight * self.scale).sum()


def streams(seed=0):
    return np.random.SeedSequence(seed)


@pytest.mark.parametrize("workers", [1, 2, 5])
def test_gradients_of_the_parts_are_added_up(workers):
    module = Small()
    module.dropout.share = 0.0
    values = torch.arange(10.0).view(5, 2)
    module(values).backward()
    assert module.weight.grad is not None
    wanted = module.weight.grad.clone()
    module.zero_grad()

    def learn(part, rows):
        loss = part(values[rows])
        loss.backward()
        return loss.item()

    with BatchParts(module, workers, streams()) as parts:
        losses = parts.run(learn, parts_of(len(values)))
        parts.add_gradients()
        assert len(losses) == PARTS
        assert sum(losses) == module(values).item()
        assert torch.equal(module.weight.grad, wanted)
        assert module.unused.grad is None
        assert all(other.grad is None for copy in parts.modules[1:] for other in copy.parameters())


def test_copies_share_weights_and_buffers_but_not_dropout():
    module = Small()
    with BatchParts(module, 1, streams()) as parts:
        first, second = parts.modules[:2]
        assert first is module
        with torch.no_grad():
            module.weight.add_(1)
        module.load_state_dict(module.state_dict() | {"scale": torch.tensor(7.0)})
        assert torch.equal(second.weight, torch.tensor([2.0, 3.0]))
        assert second.scale == 7
        assert second.weight is not module.weight
        parts.train()
        ones = torch.ones(1000)
        assert not torch.equal(first.dropout(ones), second.dropout(ones))
        assert len(parts.generators) == PARTS


def test_dropout_depends_on_the_seed_alone():
    def draw(seed):
        with BatchParts(Small(), 2, streams(seed)) as parts:
            return parts.run(lambda part, ones: part.dropout(ones), [torch.ones(1000)] * PARTS)

    first, again, other = draw(1), draw(1), draw(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))


@pytest.mark.parametrize(("rows", "sizes"), [(1, [1]), (2, [1, 1]), (5, [2, 3]), (6, [3, 3])])
def test_every_row_is_in_one_part(rows, sizes):
    found = [list(range(rows))[part] for part in parts_of(rows)]
    assert [len(part) for part in found] == sizes
    assert [row for part in found for row in part] == list(range(rows))


def test_an_error_in_a_part_is_raised():
    def fail(part, job):
        raise ValueError(job)

    with pytest.raises(ValueError, match="first"), BatchParts(Small(), 2, streams()) as parts:
        parts.run(fail, ["first", "second"])
