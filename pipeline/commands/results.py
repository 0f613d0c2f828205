"""What the results of the commands have in common: how they print, on a terminal and in a notebook."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup, escape

from ...transforms.contract.python_values import replace_non_finite

Table = Sequence[Sequence[Any]]
"""Rows of cells, the first row a heading."""


class Result:
    """The result of a command. Printed, it says what the command line says; a notebook shows its tables as well."""

    def __str__(self) -> str:
        """Says what came out, in a few lines of plain text."""
        raise NotImplementedError

    @property
    def passed(self) -> bool:
        """Whether the command found all right. Only one that looks for what is wrong may say no."""
        return True

    def figures(self) -> dict[str, Any]:
        """Returns numbers and short texts by name, as JSON holds them, for a log."""
        return _plain(dataclasses.asdict(self))  # pyright: ignore[reportArgumentType]

    def __repr__(self) -> str:
        return str(self)

    def tables(self) -> Iterable[Table]:
        """Returns the tables that a notebook shows above the text."""
        return ()

    def _repr_html_(self) -> str:
        return Markup("").join([*map(_as_html, self.tables()), Markup("<pre>{}</pre>").format(str(self))])


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """Leaves out what is neither a number nor a text nor made of these: lists may be long."""
    inner = {name: _plain(value) if isinstance(value, dict) else value for name, value in values.items()}
    kept = {name: value for name, value in inner.items() if isinstance(value, (str, int, float, dict)) and value != {}}
    return replace_non_finite(kept, lambda _: None)


def _as_html(table: Table) -> Markup:
    heading, *rows = table
    lines = [_row("th", heading), *(_row("td", row) for row in rows)]
    return Markup("<table>{}</table>").format(Markup("").join(lines))


def _row(tag: str, cells: Sequence[Any]) -> Markup:
    return Markup("<tr>{}</tr>").format(
        Markup("").join(Markup(f"<{tag}>{{}}</{tag}>").format(escape(_text(cell))) for cell in cells)
    )


def _text(cell: Any) -> str:
    return f"{cell:,}" if isinstance(cell, int) else str(cell)
