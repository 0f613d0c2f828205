"""Notes in embedding files: what somebody should know about the catalogue and the encoder that they were made from."""

import dataclasses
from dataclasses import dataclass
from typing import Any

from ...models.encoders.coverage import Coverage
from .item_texts import CatalogueNotes

_KINDS = {
    "not_text": lambda value: isinstance(value, dict) and all(isinstance(kind, str) for kind in value.values()),
    "other_columns": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "rows_left_out": lambda value: isinstance(value, dict) and all(type(rows) is int for rows in value.values()),
    "not_utf8": lambda value: type(value) is int,
    "with_html": lambda value: type(value) is int,
}


@dataclass(frozen=True)
class EmbeddingNotes:
    """What somebody should know about embeddings. Nothing of this keeps them from being used."""

    catalogue: CatalogueNotes = CatalogueNotes()
    """What was left out of the catalogue, or changed in its texts."""
    coverage: Coverage | None = None
    """How well the encoder knows the language of the texts. None if that was not measured, or is nothing to tell."""

    def to_dict(self) -> dict[str, Any]:
        """Returns the notes as values that JSON can hold; empty if there is nothing to tell.

        The files of a catalogue and an encoder that suit one another hold no notes.
        """
        notes: dict[str, Any] = {name: value for name, value in dataclasses.asdict(self.catalogue).items() if value}
        if self.coverage is not None and self.coverage.is_poor:
            notes["coverage"] = dataclasses.asdict(self.coverage)
        return notes

    @classmethod
    def from_dict(cls, values: Any) -> "EmbeddingNotes":
        """Builds notes from what `to_dict` returned. What is not as we write it is left out."""
        if not isinstance(values, dict):
            return cls()
        known = {name: values[name] for name, fits in _KINDS.items() if name in values and fits(values[name])}
        if "other_columns" in known:
            known["other_columns"] = tuple(known["other_columns"])
        shares, names = values.get("coverage"), [field.name for field in dataclasses.fields(Coverage)]
        coverage = None
        if isinstance(shares, dict) and all(isinstance(shares.get(name), (int, float)) for name in names):
            coverage = Coverage(**{name: float(shares[name]) for name in names})
        return cls(CatalogueNotes(**known), coverage)
