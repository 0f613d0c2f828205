"""The files of a model directory. They are read and checked without torch, which takes seconds to import."""

import hashlib
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load

from ..core.errors import ArtifactError
from ..noise.popularity import BUCKETS
from ..noise.score_counts import BINS, PLACES
from .model_config import BACKBONES, HEADS, IADSRConfig

FORMAT_VERSION = 3
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"

MAX_BYTES = 16 << 20
"""Largest configuration file. Those that training writes have a few thousand bytes."""

MAX_DEPTH, MAX_ENTRIES = 4, 1000
"""Deepest nesting and longest list or text of metrics, training options and provenance. They are shown to people."""

MAX_SIZE = 1_000_000
"""Largest size in a configuration. It keeps products of sizes from overflowing."""

_EXPECTED = {int: f"a whole number from 1 to {MAX_SIZE}", float: "a share in [0, 1)", str: "a name"}
_NAMES = {"backbone": BACKBONES, "head": HEADS}

RETRAIN = "point --model at a directory written by `iadsr train`, or train again"


def fingerprint(directory: str | Path) -> str:
    """Returns the sha256, in hex, over a model directory's weights and configuration.

    Raises:
        ArtifactError: A file is missing.
    """
    return fingerprint_of({name: _read(Path(directory) / name) for name in (WEIGHTS, CONFIG)})


def fingerprint_of(contents: dict[str, bytes]) -> str:
    """Returns the `fingerprint` of a model directory that holds these contents, by file name."""
    digest = hashlib.sha256()
    for name in (WEIGHTS, CONFIG):
        content = contents[name]
        # With the lengths, moving a byte from one file to the other changes the digest.
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def describe(tensor: Any) -> str:
    """Returns the type and shape of a torch tensor or a NumPy array in words."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{path.parent} is not a model directory: {path.name} cannot be read",
            code="MODEL-FILE",
            found=error.strerror or str(error),
            expected=f"{WEIGHTS} and {CONFIG}",
            fix=RETRAIN,
        ) from error


def read_description(directory: str | Path) -> dict[str, Any]:
    """Returns a model directory's format version, configuration, metrics and provenance.

    Raises:
        ArtifactError: The file is missing, damaged, or of another format.
    """
    path = Path(directory) / CONFIG
    content = _read(path)
    if len(content) > MAX_BYTES:
        raise ArtifactError(
            f"{path} is too large for a configuration",
            code="MODEL-LARGE",
            found=f"{len(content):,} bytes",
            expected=f"at most {MAX_BYTES:,}",
            fix=RETRAIN,
        )
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} is not JSON", code="MODEL-JSON", found=str(error), expected="a JSON object", fix=RETRAIN
        ) from error
    version = described.get("format_version") if isinstance(described, dict) else None
    if version != FORMAT_VERSION:
        raise ArtifactError(
            f"{path} was written in a format that this version does not read",
            code="MODEL-FORMAT",
            found=f"format_version {version!r}",
            expected=f"format_version {FORMAT_VERSION}",
            fix="train again with this version of iadsr",
        )
    keys = {"format_version", "config", "training", "metrics", "provenance"}
    if not all(isinstance(described.get(key), dict) for key in keys - {"format_version"}):
        raise ArtifactError(
            f"{path} is incomplete",
            code="MODEL-PARTS",
            found=", ".join(sorted(described)),
            expected=", ".join(sorted(keys)),
            fix=RETRAIN,
        )
    for key in ("training", "metrics", "provenance"):
        if not _is_plain(described[key], MAX_DEPTH):
            raise ArtifactError(
                f"{path}: {key} is not what training writes",
                code="MODEL-DETAILS",
                found=f"more than {MAX_ENTRIES:,} entries, or values more than {MAX_DEPTH} levels deep",
                expected="numbers, names, and short lists of them",
                fix=RETRAIN,
            )
    return described


def _is_plain(value: Any, levels: int) -> bool:
    """Whether a value can be shown: not nested too deep, and nothing in it too long."""
    if isinstance(value, (dict, list)):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return levels > 0 and len(value) <= MAX_ENTRIES and all(_is_plain(part, levels - 1) for part in parts)
    return not isinstance(value, str) or len(value) <= MAX_ENTRIES


def read_noise_reference(directory: str | Path) -> np.ndarray:
    """Returns a model directory's `noise_reference`, float32 [PLACES, BUCKETS, BINS], without loading the model.

    Raises:
        ArtifactError: The weights are missing or damaged, or do not hold it.
    """
    path = Path(directory) / WEIGHTS
    tensors = read_weights(path)
    name, expected = "noise_reference", f"float32{[PLACES, BUCKETS, BINS]}"
    if name not in tensors or describe(tensors[name]) != expected:
        raise ArtifactError(
            f"{path} does not hold the scores of inserted noise",
            code="MODEL-REFERENCE",
            found="absent" if name not in tensors else describe(tensors[name]),
            expected=f"{name}: {expected}",
            fix="train again with this version of iadsr",
        )
    return tensors[name]


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Returns all tensors of a safetensors file by name.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    content = _read(path)
    try:
        return load(content)
    # On a hostile header, the reader raises other errors than its own as well.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise ArtifactError(
            f"{path} is not a readable safetensors file",
            code="MODEL-TENSORS",
            found=str(error),
            expected="a complete file, of types that NumPy knows",
            fix=RETRAIN,
        ) from error


def read_config(directory: Path, described: dict[str, Any]) -> IADSRConfig:
    """Returns the configuration in what `read_description` returned.

    Raises:
        ArtifactError: A value is missing, unknown or unusable.
    """
    config, known = described["config"], {field.name: type(field.default) for field in fields(IADSRConfig)}
    if config.keys() != known.keys():
        raise ArtifactError(
            f"{directory / CONFIG}: the model's configuration does not have the expected keys",
            code="MODEL-KEYS",
            found="unknown keys: " + (", ".join(sorted(config.keys() - known.keys())) or "none"),
            expected="also these keys: " + (", ".join(sorted(known.keys() - config.keys())) or "none"),
            fix=RETRAIN,
        )
    for name, kind in known.items():
        value, expected = config[name], _EXPECTED[kind]
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            usable = False
        elif kind is str:
            usable, expected = value in _NAMES[name], ", ".join(_NAMES[name])
        else:
            usable = 1 <= value <= MAX_SIZE if kind is int else 0 <= value < 1
        if not usable:
            raise ArtifactError(
                f"{directory / CONFIG}: {name} has no usable value",
                code="MODEL-VALUE",
                found=repr(value),
                expected=expected,
                fix=RETRAIN,
            )
    try:
        return IADSRConfig(**config)
    except ValueError as error:
        raise ArtifactError(
            f"{directory / CONFIG}: the model's configuration cannot be used",
            code="MODEL-CONFIG",
            found=str(error),
            fix=RETRAIN,
        ) from error
