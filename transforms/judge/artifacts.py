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
from ..items.embedding_table import UNKNOWN, EmbeddingMetadata, check_fit
from ..items.vector_sample import Compared, VectorSample

SAMPLE = "vector_sample"
"""Key of the sample of vectors in a model's provenance."""

HOLD_OUT = "hold_out"
"""Key in a model's provenance: how many of each user's last interactions it has not seen."""

BEHAVIOURS = "behaviours"
"""Key in a model's provenance: the order of the behaviours whose steps counted as one journey. Empty if they had no
order; null if each step counted."""

MIN_SAME = 0.9
"""Share of the sampled items that must have the vector of the training, if vectors are not by an encoder of ours."""

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
    sample: VectorSample | None = None
    """Vectors of some items that the model was trained with. None: it was trained by an older version."""
    hold_out: int = 0
    """How many of each user's last interactions the model has not seen."""
    behaviours: tuple[str, ...] | None = None
    """The order of the behaviours that made journeys in training. Empty if they had no order; None if there were no
    journeys."""


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
    sampled = described["provenance"].get(SAMPLE)
    try:
        sample = None if sampled is None else VectorSample.from_list(sampled)
    except ValueError as error:
        raise ArtifactError(
            f"{directory} does not say which vectors it was trained with",
            code="MODEL-SAMPLE",
            found=str(error),
            expected=f"provenance.{SAMPLE} in config.json",
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
    held_out, behaviours = (described["provenance"].get(key) for key in (HOLD_OUT, BEHAVIOURS))
    return ModelFacts(
        directory,
        own,
        described["config"]["backbone"],
        described["metrics"],
        semantic,
        reference,
        sample,
        held_out if isinstance(held_out, int) else 0,
        tuple(map(str, behaviours)) if isinstance(behaviours, list) else None,
    )


def check_embeddings(path: str, model: ModelFacts, log_item_type: pa.DataType) -> dict[str, Any]:
    """Checks that embeddings fit the model and the log, and returns their metadata for the manifest.

    Raises:
        ArtifactError: The model was trained on embeddings of another encoder or on other vectors, or the ids are of
            another type.
        InputError: They cannot be read.
    """
    metadata, item_type = read_metadata(path, kind="semantic")
    check_fit(model.semantic, metadata, model=model.path, embeddings=path)
    check_item_types(path, item_type, log_item_type)
    if metadata.encoder == UNKNOWN and model.sample is not None:
        refuse_other_vectors(path, model.path, model.sample.compare_files(path))
    return metadata.to_dict()


def refuse_other_vectors(path: str, model: str, compared: Compared) -> None:
    """Checks that vectors of one's own are those that a model was trained with.

    An encoder of ours gives every text the same vector, whatever the catalogue. Nothing is known of other vectors, so
    the items that the model knows must have the vectors that they had.

    Raises:
        ArtifactError: They are not, or no item of the training is among them.
    """
    if compared.same >= max(MIN_SAME * compared.common, 1):
        return
    raise ArtifactError(
        f"The vectors {path} are not those that the model {model} was trained with",
        code="MODEL-VECTORS",
        found=f"{compared.common - compared.same:,} of {compared.common:,} items looked at have another vector"
        if compared.common
        else "no vector of any item looked at that the model was trained with",
        expected="the vectors of the training; vectors of more items may be added",
        fix="give the vectors that the model was trained with, or train a new model on these",
    )


def changed_vectors(path: str, model: ModelFacts) -> str | None:
    """Says how many items have another vector than in training, for embeddings by an encoder; None if hardly any has.

    Raises:
        InputError or ArtifactError: The embeddings cannot be read.
    """
    if model.sample is None or model.semantic.encoder == UNKNOWN:
        return None
    compared = model.sample.compare_files(path)
    if compared.common and compared.same < MIN_SAME * compared.common:
        return (
            f"{compared.common - compared.same:,} of {compared.common:,} items looked at have another text vector than "
            "when the model was trained: their texts have changed, or other columns were embedded. Consider training "
            "again."
        )
    return None


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
