"""What is expensive to load is loaded once per process."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from apache_beam.utils.shared import Shared

T = TypeVar("T")


@dataclass
class _Holder(Generic[T]):
    """`Shared` keeps weak references, which tuples do not allow."""

    value: T


class LoadedOnce(Generic[T]):
    """A value that all copies of a step in one process share. A part of a DoFn, it travels to the workers unloaded."""

    def __init__(self):
        self._shared = Shared()
        self._held: _Holder[T] | None = None

    def get(self, load: Callable[[], T]) -> T:
        """Returns the value, after loading it where no copy of the step has."""
        # Held, because of all `Shared` objects of a process Beam keeps one alive: others would be loaded every time.
        self._held = holder = self._shared.acquire(lambda: _Holder(load()))
        return holder.value
