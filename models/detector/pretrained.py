"""A trained model as a directory: weights, configuration and model card. Nothing is pickled."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

import torch
from safetensors.torch import save
from torch import Tensor, nn

from ..core.errors import ArtifactError
from ..noise.popularity import BUCKETS
from ..noise.score_counts import BINS, PLACES
from .heads import HEAD_CLASSES
from .model_config import IADSRConfig
from .model_files import (
    CARD,
    CONFIG,
    FORMAT_VERSION,
    RETRAIN,
    WEIGHTS,
    describe,
    read_config,
    read_description,
    read_weights,
)


class Pretrained:
    """Gives a model `save_pretrained` and `from_pretrained`. Mixed into an `nn.Module` built from an IADSRConfig.

    Attributes:
        noise_reference: Counts of the scores of inserted noise, by place and popularity bucket, [PLACES, BUCKETS, BINS]
            (see `noise.share`); all 0 if they were not measured.
        training_options: The TrainingConfig that the model was trained with, as a dict; empty on an untrained model.
        metrics: What training measured, JSON-able; empty on an untrained model.
        provenance: What the model was trained from, such as fingerprints of the embeddings; JSON-able.
    """

    config: IADSRConfig
    noise_reference: Tensor

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        assert isinstance(self, nn.Module)
        self.register_buffer("noise_reference", torch.zeros(PLACES, BUCKETS, BINS))
        self.training_options: dict[str, Any] = {}
        self.metrics: dict[str, Any] = {}
        self.provenance: dict[str, Any] = {}

    def save_pretrained(self, directory: str | Path) -> None:
        """Writes `model.safetensors`, `config.json` and a model card, `README.md`, into `directory`."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        for name, content in self.to_files().items():
            (directory / name).write_bytes(content)

    def to_files(self) -> dict[str, bytes]:
        """Returns what `save_pretrained` writes, by file name. The configuration comes last: it makes it a model."""
        assert isinstance(self, nn.Module)
        described = {
            "format_version": FORMAT_VERSION,
            "config": asdict(self.config),
            "training": self.training_options,
            "metrics": self.metrics,
            "provenance": self.provenance,
        }
        tensors = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        return {
            WEIGHTS: save(tensors),
            CARD: _card(described).encode(),
            CONFIG: (json.dumps(described, indent=2) + "\n").encode(),
        }

    @classmethod
    def from_pretrained(cls, directory: str | Path) -> Self:
        """Loads a model that `save_pretrained` wrote.

        Raises:
            ArtifactError: A file is missing or damaged, was written in another format, or does not fit the others.
        """
        directory = Path(directory)
        described = read_description(directory)
        config = read_config(directory, described)
        # On the meta device nothing is allocated, and nothing drawn from the global generator.
        with torch.device("meta"):
            model = cls(config)
        assert isinstance(model, nn.Module)
        path = directory / WEIGHTS
        tensors = {name: torch.tensor(array) for name, array in read_weights(path).items()}
        expected = {name: describe(tensor) for name, tensor in model.state_dict().items()}
        found = {name: describe(tensor) for name, tensor in tensors.items()}
        if expected != found:
            wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))[:3]
            raise ArtifactError(
                f"{path} does not hold the weights that {CONFIG} describes",
                code="MODEL-WEIGHTS",
                found="; ".join(f"{name}: {found.get(name, 'absent')}" for name in wrong),
                expected="; ".join(f"{name}: {expected.get(name, 'absent')}" for name in wrong),
                fix=RETRAIN,
            )
        broken = [
            name
            for name, tensor in tensors.items()
            if not tensor.isfinite().all() or (name.endswith("_deviation") and not (tensor > 0).all())
        ]
        if broken:
            raise ArtifactError(
                f"{path} holds weights that are not usable numbers",
                code="MODEL-VALUES",
                found=", ".join(broken[:3]),
                expected="finite values, and deviations above 0",
                fix=RETRAIN,
            )
        # Assigned, not copied: to copy into tensors of the meta device, torch would import its compiler.
        model.load_state_dict(tensors, assign=True)
        model.training_options = described["training"]
        model.metrics, model.provenance = described["metrics"], described["provenance"]
        return model.eval()


def _card(described: dict[str, Any]) -> str:
    return f"""---
library_name: iadsr
tags: [recommender-systems, sequential-recommendation, denoising]
---

# IADSR noise detector ({described["config"]["backbone"]})

Scores each interaction of a user's sequence with the probability that it is noise, from two views of the items:
collaborative vectors learned from a log, and embeddings of the item texts. Method: Interest Alignment for
Denoising Sequential Recommendation (CIKM 2025, arXiv 2510.04239){HEAD_CLASSES[described["config"]["head"]].card_note}.

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
{_rows({key: value for key, value in described["provenance"].items() if not key.endswith("_sample")})}

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
