"""Loads expensive values once per process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from apache_beam.utils.shared import Shared

T = TypeVar("T")


@dataclass
class _Holder(Generic[T]):
    """`Shared` keeps weak references. Tuples do not allow them, and this holder does."""

    value: T


class LoadedOnce(Generic[T]):
    """A value that all copies of a step in one process share.

    It is a part of a DoFn, and travels to the workers before it is loaded.
    """

    def __init__(self):
        self._shared = Shared()
        self._held: _Holder[T] | None = None

    def get(self, load: Callable[[], T]) -> T:
        """Returns the value. The first copy of the step to ask for it loads it."""
        # Beam keeps only one `Shared` value of a process alive. Without this reference, others would be loaded again.
        self._held = holder = self._shared.acquire(lambda: _Holder(load()))
        return holder.value
