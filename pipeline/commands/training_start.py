"""The model that `train --from` starts from: reads it, and refuses what cannot be a start."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from ...models.core.errors import InputError
from ...models.detector.iadsr import IADSR
from ...models.detector.model_config import IADSRConfig
from ...models.training.training_config import TrainingConfig
from ...models.training.warm_start import MAY_DIFFER, Start
from ...transforms.files import storage
from ...transforms.files.local_copy import local_copy
from ...transforms.items.embedding_files import read_embeddings
from ...transforms.items.embedding_table import EmbeddingTable, align
from ...transforms.judge.artifacts import (
    COLLABORATIVE,
    HOLD_OUT,
    ModelFacts,
    changed_vectors,
    check_embeddings,
    check_item_types,
    read_model_facts,
)
from ...transforms.run.output_directory import same_directory
from .command_options import TrainOptions

START = "start"
"""Key in a model's provenance: which model its training started from."""

_FLAGS = ("backbone", "head", "seed", HOLD_OUT)
"""What can be set on the command line."""


@dataclass(frozen=True)
class EarlierModel:
    """A model that a training may start from."""

    facts: ModelFacts
    """What describes it."""
    model: IADSR
    """Its net."""
    table: EmbeddingTable
    """Its collaborative item embeddings."""
    notes: tuple[str, ...]
    """What may surprise about it."""

    def start(self, item_ids: pa.Array) -> Start:
        """Returns what a training on items, in their order, starts from.

        Raises:
            InputError: The model knows none of the items.
        """
        rows, known = align(self.table, item_ids)
        if not known.any():
            raise InputError(
                f"The model {self.facts.path} knows none of the log's items",
                code="START-ITEMS",
                found=f"such as {item_ids[0].as_py()!r} in the log, {self.table.item_ids[0].as_py()!r} in the model",
                expected="a model of an earlier part of the same log",
                fix="give another model to --from, or train without it",
            )
        return Start(self.model, rows, known, self.facts.fingerprint)

    def recorded(self) -> dict[str, object]:
        """Returns what the configuration of the new model says of it."""
        counted = {name: self.facts.metrics.get(name) for name in ("interactions", "users", "items")}
        return {"fingerprint": self.facts.fingerprint, **{k: v for k, v in counted.items() if isinstance(v, int)}}


def read_earlier_model(
    options: TrainOptions, config: IADSRConfig, training: TrainingConfig, item_type: pa.DataType
) -> EarlierModel | None:
    """Reads the model that `--from` names; None if it names none.

    Args:
        options: What `iadsr train` is asked to do.
        config: The shape of the model to train.
        training: How it will be trained.
        item_type: Type of the log's item ids.

    Raises:
        ArtifactError: It is no model of this version, is damaged, or was trained on other embeddings.
        InputError: It has another shape, was trained with other options, or lies where the new model will.
    """
    path = options.from_
    if path is None:
        return None
    if same_directory(path, options.output):
        raise InputError(
            "The new model would replace the one that it starts from",
            code="START-OUTPUT",
            found=f"--from {path} and --output {options.output}",
            expected="two directories",
            fix="choose another --output",
        )
    facts = read_model_facts(path)
    check_embeddings(options.embeddings, facts, item_type)
    with local_copy(path) as local:
        model = IADSR.from_pretrained(local)
    shape = replace(config, semantic_dimension=facts.semantic.dimension)
    _refuse_differences(path, asdict(model.config), asdict(shape))
    earlier, own = (
        {**each, HOLD_OUT: n}
        for each, n in (
            (model.training_options, facts.hold_out),
            (asdict(training), options.hold_out),
        )
    )
    _refuse_differences(path, earlier, {name: own[name] for name in own if name not in MAY_DIFFER})
    place = storage.join(path, COLLABORATIVE)
    table = read_embeddings(place, kind="collaborative")
    check_item_types(place, table.item_ids.type, item_type)
    changed = changed_vectors(options.embeddings, facts)
    return EarlierModel(facts, model, table, (changed,) if changed else ())


def _refuse_differences(path: str, earlier: dict[str, Any], asked: dict[str, Any]) -> None:
    """Refuses a start of which a value is not the one that is asked for."""
    wrong = [name for name, value in asked.items() if earlier.get(name) != value]
    if not wrong:
        return
    flags = [f"--{name.replace('_', '-')} {earlier.get(name)}" for name in wrong if name in _FLAGS]
    raise InputError(
        f"A training with these options cannot start from the model {path}",
        code="START-OPTIONS",
        found=", ".join(f"{name} {earlier.get(name, 'not known')}" for name in wrong),
        expected=", ".join(f"{name} {asked[name]}" for name in wrong),
        fix=f"give {' '.join(flags)}, or train without --from" if len(flags) == len(wrong) else "train without --from",
    )
