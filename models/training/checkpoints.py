"""What a training has finished, kept so that the same training goes on from there after it was killed."""

import hashlib
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any, BinaryIO, Protocol

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from ..core.sequences import Sequences
from ..detector.model_config import IADSRConfig
from .training_config import TrainingConfig

SUFFIX = ".safetensors"
"""How the names of the files end."""

SECONDS_BETWEEN = 30.0
"""A stage keeps what it has done at the end of an epoch if so many seconds have passed since it last did."""

_VERSIONED = ("iadsr", "torch", "numpy", "scipy", "scikit-learn", "numba", "faiss-cpu")
_UNREADABLE = (SafetensorError, ValueError, KeyError, TypeError)
_OUTLINE = "outline"
"""Name of the tensor that holds, as JSON, all that is no tensor, and where the tensors belong."""


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
        content = self.files.read(f"{self.name}{SUFFIX}") if self.files else None
        if content is None:
            return None
        try:
            tensors = load(content)
            return _unpack(json.loads(tensors[_OUTLINE].numpy().tobytes()), tensors)
        except _UNREADABLE:  # damaged, and only a checkpoint
            return None

    def save(self, state: dict[str, Any]) -> None:
        """Keeps tensors and plain values, in place of what was kept before."""
        if self.files:
            tensors: dict[str, Tensor] = {}
            outline = json.dumps(_pack(state, tensors)).encode()
            tensors[_OUTLINE] = torch.frombuffer(bytearray(outline), dtype=torch.uint8)
            content = save(tensors)
            self.files.write(f"{self.name}{SUFFIX}", lambda file: file.write(content))


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns what JSON can hold of a value, and moves its tensors to `tensors`."""
    if isinstance(value, Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):  # whose keys may be numbers
        return {"items": [[key, _pack(each, tensors)] for key, each in value.items()]}
    return [_pack(each, tensors) for each in value] if isinstance(value, (list, tuple)) else value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Returns the value that `_pack` was given, with lists in place of tuples."""
    if isinstance(value, list):
        return [_unpack(each, tensors) for each in value]
    if not isinstance(value, dict):
        return value
    if "tensor" in value:
        return tensors[value["tensor"]]
    return {key: _unpack(each, tensors) for key, each in value["items"]}


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
    sequences: Sequences,
    semantic: np.ndarray,
    has_semantic: np.ndarray,
    config: IADSRConfig,
    training: TrainingConfig,
    start: str = "",
) -> dict[str, str]:
    """Fingerprints everything that the bytes of a model depend on. A training goes on only if none has changed.

    `start` is the fingerprint of the model that the training starts from.
    """
    assert sequences.keys is not None
    versions = {name: metadata.version(name) for name in _VERSIONED} | {"python": platform.python_version()}
    parts: dict[str, list[Any]] = {
        "log": [sequences.items, sequences.offsets, sequences.keys],
        "embeddings": [semantic, has_semantic],
        "start": [start.encode()],
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
