"""A trained model as a directory: weights, configuration and model card, with nothing pickled."""

import hashlib
import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from .config import BACKBONES, HEADS, IADSRConfig
from .errors import ArtifactError
from .noise_share import BINS
from .popularity import BUCKETS

FORMAT_VERSION = 1
WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
MOST_BYTES = 16 << 20
"""Of a configuration; ours take a few thousand."""
DEEPEST, MOST_ENTRIES = 4, 1000
"""What training measured and started from is shown to people: nothing of theirs is deeper or longer."""
LARGEST = 1_000_000
"""Beyond this no size in a configuration is meant; it keeps products of sizes from overflowing."""
_EXPECTED = {int: f"a whole number from 1 to {LARGEST}", float: "a share in [0, 1)", str: "a name"}
_NAMES = {"backbone": BACKBONES, "head": HEADS}
_RETRAIN = "point --model at a directory written by `iadsr train`, or train again"


class Pretrained:
    """Gives a model `save_pretrained` and `from_pretrained`; mixed into an `nn.Module` built from an IADSRConfig.

    Attributes:
        noise_reference: What inserted noise scores, by popularity bucket, [BUCKETS, BINS] (see `noise_share`); all 0
            where it was not measured.
        training_options: The TrainingConfig that the model was trained with, as a dict; empty on an untrained model.
        metrics: What training measured, JSON-able; empty likewise.
        provenance: What the model was trained from, such as fingerprints of the embeddings; JSON-able.
    """

    config: IADSRConfig
    noise_reference: Tensor

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        assert isinstance(self, nn.Module)
        self.register_buffer("noise_reference", torch.zeros(BUCKETS, BINS))
        self.training_options: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes `model.safetensors`, `config.json` and a model card, `README.md`, into `directory`."""
        assert isinstance(self, nn.Module)
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        described = {
            "format_version": FORMAT_VERSION,
            "config": asdict(self.config),
            "training": self.training_options,
            "metrics": self.metrics,
            "provenance": self.provenance,
        }
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        (directory / WEIGHTS).write_bytes(save(tensors))
        (directory / CONFIG).write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
        (directory / CARD).write_text(_card(described), encoding="utf-8")

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> Self:
        """Loads a model that `save_pretrained` wrote.

        Raises:
            ArtifactError: A file is missing or damaged, was written in another format, or does not fit the others.
        """
        directory = Path(directory)
        described = read_description(directory)
        config = _read_config(directory, described)
        # On the meta device nothing is allocated, or drawn from the global generator, before the weights are checked.
        with torch.device("meta"):
            model = cls(config)
        assert isinstance(model, nn.Module)
        path = directory / WEIGHTS
        tensors = _read_weights(path)
        expected = {name: _describe(tensor) for name, tensor in model.state_dict().items()}
        found = {name: _describe(tensor) for name, tensor in tensors.items()}
        if expected != found:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))[:3]
            raise ArtifactError(
                f"{path} does not hold the weights that {CONFIG} describes",
                code="MODEL-WEIGHTS",
                found="; ".join(f"{name}: {found.get(name, 'absent')}" for name in wrong),
                expected="; ".join(f"{name}: {expected.get(name, 'absent')}" for name in wrong),
                fix=_RETRAIN,
            )
        broken = [
            name
            for name, tensor in tensors.items()
            if not tensor.isfinite().all() or (name.endswith("_deviation") and not (tensor > 0).all())
        ]
        if broken:
            raise ArtifactError(
                f"{path} holds weights that cannot be computed with",
                code="MODEL-VALUES",
                found=", ".join(broken[:3]),
                expected="finite values, and deviations above 0",
                fix=_RETRAIN,
            )
        model.to_empty(device="cpu").load_state_dict(tensors)
        model.training_options = described["training"]
        model.metrics, model.provenance = described["metrics"], described["provenance"]
        return model.eval()


def fingerprint(directory: str | Path) -> str:
    """Returns the sha256, in hex, over a model directory's weights and configuration.

    Raises:
        ArtifactError: A file is missing.
    """
    digest = hashlib.sha256()
    for name in (WEIGHTS, CONFIG):
        content = _read(Path(directory) / name)
        # The length keeps the two files apart: no byte can move from one to the other unseen.
        digest.update(len(content).to_bytes(8, "little"))
        digest.update(content)
    return digest.hexdigest()


def _describe(tensor: Tensor) -> str:
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
            fix=_RETRAIN,
        ) from error


def read_description(directory: str | Path) -> dict[str, Any]:
    """Returns a model directory's format version, configuration, metrics and provenance.

    Raises:
        ArtifactError: The file is missing, damaged, or of another format.
    """
    path = Path(directory) / CONFIG
    content = _read(path)
    if len(content) > MOST_BYTES:
        raise ArtifactError(
            f"{path} is too large for a configuration",
            code="MODEL-LARGE",
            found=f"{len(content):,} bytes",
            expected=f"at most {MOST_BYTES:,}",
            fix=_RETRAIN,
        )
    try:
        described = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} is not JSON", code="MODEL-JSON", found=str(error), expected="a JSON object", fix=_RETRAIN
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
            fix=_RETRAIN,
        )
    for key in ("training", "metrics", "provenance"):
        if not _is_plain(described[key], DEEPEST):
            raise ArtifactError(
                f"{path}: {key} is not what training writes",
                code="MODEL-DETAILS",
                found=f"more than {MOST_ENTRIES:,} entries, or values more than {DEEPEST} levels deep",
                expected="numbers, names, and short lists of them",
                fix=_RETRAIN,
            )
    return described


def _is_plain(value: Any, levels: int) -> bool:
    """Whether a value can be shown: not too deep, nothing too long in it."""
    if isinstance(value, (dict, list)):
        parts = [*value, *value.values()] if isinstance(value, dict) else value
        return levels > 0 and len(value) <= MOST_ENTRIES and all(_is_plain(part, levels - 1) for part in parts)
    return not isinstance(value, str) or len(value) <= MOST_ENTRIES


def read_noise_reference(directory: str | Path) -> np.ndarray:
    """Returns a model directory's `noise_reference`, float32 [BUCKETS, BINS], without loading the model.

    Raises:
        ArtifactError: The weights are missing or damaged, or do not hold it.
    """
    path = Path(directory) / WEIGHTS
    tensors = _read_weights(path)
    name, expected = "noise_reference", f"float32{[BUCKETS, BINS]}"
    if name not in tensors or _describe(tensors[name]) != expected:
        raise ArtifactError(
            f"{path} does not say what noise scores",
            code="MODEL-REFERENCE",
            found="absent" if name not in tensors else _describe(tensors[name]),
            expected=f"{name}: {expected}",
            fix="train again with this version of iadsr",
        )
    return tensors[name].numpy()


def _read_weights(path: Path) -> dict[str, Tensor]:
    content = _read(path)
    try:
        return load(content)
    # What a reader makes of a hostile header is not all of its own kind of error.
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise ArtifactError(
            f"{path} is not a readable safetensors file",
            code="MODEL-TENSORS",
            found=str(error),
            expected="a complete file",
            fix=_RETRAIN,
        ) from error


def _read_config(directory: Path, described: dict[str, Any]) -> IADSRConfig:
    config, known = described["config"], {field.name: type(field.default) for field in fields(IADSRConfig)}
    if config.keys() != known.keys():
        raise ArtifactError(
            f"{directory / CONFIG}: the model's configuration does not have the expected keys",
            code="MODEL-KEYS",
            found="unknown keys: " + (", ".join(sorted(config.keys() - known.keys())) or "none"),
            expected="also these keys: " + (", ".join(sorted(known.keys() - config.keys())) or "none"),
            fix=_RETRAIN,
        )
    for name, kind in known.items():
        value, expected = config[name], _EXPECTED[kind]
        if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
            usable = False
        elif kind is str:
            usable, expected = value in _NAMES[name], ", ".join(_NAMES[name])
        else:
            usable = 1 <= value <= LARGEST if kind is int else 0 <= value < 1
        if not usable:
            raise ArtifactError(
                f"{directory / CONFIG}: {name} has no usable value",
                code="MODEL-VALUE",
                found=repr(value),
                expected=expected,
                fix=_RETRAIN,
            )
    try:
        return IADSRConfig(**config)
    except ValueError as error:
        raise ArtifactError(
            f"{directory / CONFIG}: the model's configuration cannot be used",
            code="MODEL-CONFIG",
            found=str(error),
            fix=_RETRAIN,
        ) from error


_HEAD_NOTES = {
    "agreement": """, with leave-one-out
interests, vectors learned from other users than the one who is judged, and a noise head trained on noise inserted into
the log""",
    "paper": """, with
the noise score of the paper, the sum of its three similarities, calibrated on noise inserted into the log""",
}


def _card(described: dict[str, Any]) -> str:
    return f"""---
library_name: iadsr
tags: [recommender-systems, sequential-recommendation, denoising]
---

# IADSR noise detector ({described["config"]["backbone"]})

Scores each interaction of a user's sequence with the probability that it is noise, from two views of the items:
collaborative vectors learned from a log, and embeddings of the item texts. Method: Interest Alignment for
Denoising Sequential Recommendation (CIKM 2025, arXiv 2510.04239){_HEAD_NOTES[described["config"]["head"]]}.

Use it with `iadsr clean --model <this directory>`.

## Data and held-out measurements

| what | value |
| --- | --- |
{_rows(described["metrics"])}

"Held-out" users were not used to train the alignment or the noise head. The noise probability is calibrated for
the share of inserted noise above; `iadsr clean` re-bases it to the share that it estimates for the log at hand.

## Trained from

| what | value |
| --- | --- |
{_rows(described["provenance"])}

## Limits

Inserted noise stands in for real noise: an item that does not fit the user's other items is what the model finds. A
new interest of a user looks the same at first. A sequence longer than {described["config"]["max_length"]} is read in
windows of that many interactions at most, each interaction judged by its window and by the sequence as a whole.
"""


def _rows(values: dict[str, Any]) -> str:
    return "\n".join(f"| {key.replace('_', ' ')} | {_show(value)} |" for key, value in values.items())


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key.replace('_', ' ')} {_show(part)}" for key, part in value.items())
    if isinstance(value, list):
        return " and ".join(_show(part) for part in value)
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}" if isinstance(value, float) else str(value)
