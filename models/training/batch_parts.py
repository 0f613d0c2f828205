"""Computes the parts of a batch side by side, by copies of a module that share its weights.

A batch always has the same parts, and their gradients are added up in the same order. So the result does not depend on
the number of threads.
"""

import copy
import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Generic, TypeVar

import numpy as np
from torch import nn

from ..detector.dropout import seed_dropout

PARTS = 2
"""A batch is computed in so many parts. With more, each would be too small to keep a core busy."""

Module = TypeVar("Module", bound=nn.Module)
Job = TypeVar("Job")
Done = TypeVar("Done")


class BatchParts(Generic[Module]):
    """A module and its copies, one for each part of a batch. To be used in a `with` statement, which ends the threads.

    Attributes:
        modules: The module itself, and copies with the same weights but gradients and dropout of their own, [PARTS].
        generators: Those of all their dropouts.
    """

    def __init__(self, module: Module, workers: int, dropout: np.random.SeedSequence):
        """Makes the copies.

        Args:
            module: The module that is trained.
            workers: Threads; with 1, the calling thread does everything.
            dropout: Seeds the dropouts.
        """
        self.modules = [module, *(_twin(module) for _ in range(PARTS - 1))]
        streams = dropout.spawn(PARTS)
        self.generators = [
            generator for each in zip(self.modules, streams, strict=True) for generator in seed_dropout(*each)
        ]
        self._pool = ThreadPoolExecutor(min(workers, PARTS)) if workers > 1 else None

    def __enter__(self) -> "BatchParts[Module]":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self._pool:
            self._pool.shutdown()

    def train(self) -> None:
        """Puts the module and its copies into training mode."""
        for module in self.modules:
            module.train()

    def run(self, function: Callable[[Module, Job], Done], jobs: list[Job]) -> list[Done]:
        """Calls a function with a module and a job for each part, side by side. Returns its results in their order."""
        each = self._pool.map if self._pool else map
        return list(each(function, self.modules[: len(jobs)], jobs))

    def add_gradients(self) -> None:
        """Adds the gradients of the copies to those of the module, and takes them away from the copies."""
        module, *copies = self.modules
        for other in copies:
            for own, added in zip(module.parameters(), other.parameters(), strict=True):
                if added.grad is not None:
                    own.grad = added.grad if own.grad is None else own.grad.add_(added.grad)
                    added.grad = None


def parts_of(rows: int) -> list[slice]:
    """Returns which of so many rows of a batch are in each part. With fewer rows than PARTS there are fewer parts."""
    bounds = np.linspace(0, rows, min(PARTS, rows) + 1).astype(int)
    return [slice(first, last) for first, last in itertools.pairwise(bounds)]


def _twin(module: Module) -> Module:
    # What deepcopy finds here, it does not copy.
    shared: dict[int, object] = {id(own): nn.Parameter(own.detach(), own.requires_grad) for own in module.parameters()}
    shared |= {id(own): own for own in module.buffers()}
    return copy.deepcopy(module, shared)
