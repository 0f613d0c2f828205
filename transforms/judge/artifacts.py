"""Model and embedding directories: reads what describes them, and checks that they fit together."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from ...models.core.errors import ArtifactError
from ...models.detector.model_files import CONFIG, WEIGHTS, fingerprint, read_description, read_noise_reference
from ..files.local_copy import shared_copy
from ..files.storage import join, list_names
from ..files.symbolic_links import refuse_links
from ..items.embedding_files import read_metadata
from ..items.embedding_table import EmbeddingMetadata, check_fit

COLLABORATIVE = "collaborative"
"""Folder of a model directory with the collaborative item embeddings of stage 1."""


@dataclass(frozen=True)
class ModelFacts:
    """The description of a model directory."""

    path: str
    """The directory."""
    fingerprint: str
    """SHA-256 of weights and configuration."""
    backbone: str
    """Name of the backbone."""
    metrics: dict[str, Any]
    """Measurements of the training."""
    semantic: EmbeddingMetadata
    """The embeddings that the model was trained on."""
    noise_reference: np.ndarray
    """How inserted noise scores, see `models.noise.share`."""


def read_model_facts(directory: str) -> ModelFacts:
    """Reads a model directory's description, and checks that its collaborative embeddings are its own.

    Raises:
        ArtifactError: The directory is not a model, is damaged, or holds parts of two models.
        InputError: The collaborative embeddings cannot be found.
    """
    refuse_links(directory)
    if CONFIG not in list_names(directory):
        raise ArtifactError(
            f"{directory} is not a model directory: {CONFIG} is missing",
            code="MODEL-MISSING",
            expected=f"{WEIGHTS}, {CONFIG} and {COLLABORATIVE}/",
            fix="point --model at a directory written by `iadsr train`",
        )
    with shared_copy(directory) as local:
        described = read_description(local)
        own = fingerprint(local)
        reference = read_noise_reference(local)
    try:
        semantic = EmbeddingMetadata.from_dict(described["provenance"]["embeddings"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArtifactError(
            f"{directory} does not say which embeddings it was trained on",
            code="MODEL-ORIGIN",
            found=json.dumps(described["provenance"])[:200],
            expected="provenance.embeddings in config.json",
            fix="point --model at a directory written by `iadsr train`",
        ) from error
    collaborative, _ = read_metadata(join(directory, COLLABORATIVE), kind="collaborative")
    if collaborative.revision != own:
        raise ArtifactError(
            f"The collaborative embeddings in {directory} belong to another model",
            code="MODEL-MIXED",
            found=f"model {collaborative.revision[:12]}",
            expected=f"model {own[:12]}",
            fix="copy the whole model directory, or train again",
        )
    return ModelFacts(directory, own, described["config"]["backbone"], described["metrics"], semantic, reference)


def check_embeddings(path: str, model: ModelFacts, log_item_type: pa.DataType) -> dict[str, Any]:
    """Checks that embeddings fit the model and the log, and returns their metadata for the manifest.

    Raises:
        ArtifactError: The model was trained on embeddings of another encoder, or the ids are of another type.
        InputError: They cannot be read.
    """
    metadata, item_type = read_metadata(path, kind="semantic")
    check_fit(model.semantic, metadata, model=model.path, embeddings=path)
    check_item_types(path, item_type, log_item_type)
    return metadata.to_dict()


def check_item_types(path: str, item_type: pa.DataType, log_item_type: pa.DataType) -> None:
    """Checks that log and embeddings both have integer ids, or both strings.

    Raises:
        ArtifactError: One has integers and the other strings.
    """
    if pa.types.is_integer(item_type) != pa.types.is_integer(log_item_type):
        raise ArtifactError(
            f"Item ids in the log and in the embeddings {path} have different types",
            code="IDS-EMBEDDINGS",
            found=f"{log_item_type} in the log, {item_type} in the embeddings",
            expected="integers in both, or strings in both",
            fix="cast the ids on one side, so that equal items have equal ids",
        )
