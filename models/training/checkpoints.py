"""What a training has finished, kept so that the same training goes on from there after it was killed."""

import hashlib
import io
import json
import pickle
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch

from ..core.sequences import Sequences
from ..detector.model_config import IADSRConfig
from .training_config import TrainingConfig

SECONDS_BETWEEN = 30.0
"""A stage keeps what it has done at the end of an epoch if so many seconds have passed since it last did."""

_VERSIONED = ("iadsr", "torch", "numpy", "scipy", "scikit-learn", "numba", "faiss-cpu")
_UNREADABLE = (OSError, ValueError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError)


class Files(Protocol):
    """Where the files are kept."""

    def read(self, name: str) -> bytes | None:
        """Returns the content of a file; None if there is none."""
        ...

    def write(self, name: str, write: Callable[[BinaryIO], object]) -> None:
        """Writes a file that is whole or not there at all."""
        ...


@dataclass(frozen=True)
class Checkpoint:
    """What one stage keeps."""

    files: Files | None
    """None: nothing is kept."""
    name: str
    """The stage."""
    seconds_between: float = SECONDS_BETWEEN
    """See SECONDS_BETWEEN."""

    def load(self) -> dict[str, Any] | None:
        """Returns what was kept last; None if there is nothing that can be read."""
        content = self.files.read(f"{self.name}.pt") if self.files else None
        if content is None:
            return None
        try:
            return torch.load(io.BytesIO(content), weights_only=True)
        except _UNREADABLE:  # damaged, and only a checkpoint
            return None

    def save(self, state: dict[str, Any]) -> None:
        """Keeps tensors and plain values, in place of what was kept before."""
        if self.files:
            self.files.write(f"{self.name}.pt", lambda file: torch.save(state, file))


class Pace:
    """Says when enough time has passed to keep something again."""

    def __init__(self, seconds: float):
        self._seconds, self._last = seconds, time.monotonic()

    def is_due(self) -> bool:
        """Returns whether it has, and if so, counts from now on."""
        due = time.monotonic() - self._last >= self._seconds
        if due:
            self._last = time.monotonic()
        return due


def identity_of(
    sequences: Sequences, semantic: np.ndarray, has_semantic: np.ndarray, config: IADSRConfig, training: TrainingConfig
) -> dict[str, str]:
    """Fingerprints everything that the bytes of a model depend on. A training goes on only if none has changed."""
    assert sequences.keys is not None
    versions = {name: metadata.version(name) for name in _VERSIONED} | {"python": platform.python_version()}
    parts: dict[str, list[Any]] = {
        "log": [sequences.items, sequences.offsets, sequences.keys],
        "embeddings": [semantic, has_semantic],
        "options": [json.dumps([asdict(config), asdict(training)]).encode()],
        "versions": [json.dumps(versions).encode()],
        "machine": [platform.machine().encode(), torch.backends.cpu.get_cpu_capability().encode()],
    }
    return {name: _fingerprint(part) for name, part in parts.items()}


def _fingerprint(parts: list[Any]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(repr((part.dtype.str, part.shape)).encode())
        digest.update(np.ascontiguousarray(part).view(np.uint8).data if isinstance(part, np.ndarray) else part)
    return digest.hexdigest()


def generator_states(generators: list[np.random.Generator]) -> str:
    """Writes the states of random generators down."""
    return json.dumps([generator.bit_generator.state for generator in generators])


def restore_generators(generators: list[np.random.Generator], states: str) -> None:
    """Sets generators back to states that `generator_states` has written."""
    for generator, state in zip(generators, json.loads(states), strict=True):
        generator.bit_generator.state = state
