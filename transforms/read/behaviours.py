"""What users did with items, such as view, cart and purchase: the behaviours of a log, their strength and their number.

You need this if the log has a column of behaviours (`--behaviour-column`).
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...models.core.errors import InputError
from ..contract.columns import InteractionColumns

STRONGEST = 0
"""The rank of the behaviour that ends a journey."""

MAX_BEHAVIOURS = 100
"""A column with more different values says something else than what users do."""

_SHOWN = 5


def behaviour_texts(values: pa.ChunkedArray | pa.Array) -> pa.DictionaryArray:
    """Returns behaviours as text, each different one once in the dictionary. Booleans are true and false."""
    encoded = values.cast(pa.string()).dictionary_encode()
    return encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded


def behaviour_ranks(values: pa.ChunkedArray | pa.Array, columns: InteractionColumns) -> np.ndarray:
    """Returns how strong each behaviour is, int32 [n]: STRONGEST for the last that the order names, then 1, 2, ...

    Behaviours that the order does not name come after all of it, each with a number of its own among these values.
    Without an order, this is so for all of them, and none is STRONGEST.

    Args:
        values: What users did, [n], without null.
        columns: The names of the log's columns, and the order of the behaviours.
    """
    texts = behaviour_texts(values)
    named = pa.array((columns.behaviours or ())[::-1], pa.string())
    rank = pc.index_in(texts.dictionary, value_set=named).fill_null(-1).to_numpy(zero_copy_only=False).copy()
    other = np.flatnonzero(rank < 0)
    ascending = pc.array_sort_indices(texts.dictionary.take(pa.array(other))).to_numpy()
    rank[other[ascending]] = first_unnamed(columns) + np.arange(len(other))
    return rank.astype(np.int32)[texts.indices.to_numpy()]


def first_unnamed(columns: InteractionColumns) -> int:
    """Returns the rank of the first behaviour that the order does not name."""
    return max(len(columns.behaviours or ()), 1)


def in_order(behaviours: Iterable[str], columns: InteractionColumns) -> list[str]:
    """Returns behaviours weakest first: those that the order does not name by name, then those that it names."""
    named = columns.behaviours or ()
    return sorted(behaviours, key=lambda each: (each in named, named.index(each) if each in named else 0, each))


def shown(behaviour: str) -> str:
    """Returns a behaviour as messages show it: in quotes if it begins or ends with a space, or is one."""
    return behaviour if behaviour == behaviour.strip() else f"'{behaviour}'"


def count_behaviours(table: pa.Table, columns: InteractionColumns) -> dict[str, int]:
    """Returns the number of rows of each behaviour; none if the log has no column of behaviours.

    Raises:
        InputError: There are too many different ones.
    """
    if columns.behaviour is None:
        return {}
    counted = behaviour_texts(table[columns.behaviour]).value_counts()
    counts = dict(zip(counted.field(0).to_pylist(), counted.field(1).to_pylist(), strict=True))
    check_behaviours([counts], columns, whole=False)
    return counts


def check_behaviours(parts: Iterable[Mapping[str, int]], columns: InteractionColumns, *, whole: bool = True) -> None:
    """Checks that a column holds behaviours, among them one that the order names.

    Args:
        parts: Number of rows of each behaviour, in parts of the log.
        columns: The names of the log's columns, and the order of the behaviours.
        whole: Whether these are all parts.

    Raises:
        InputError: There are too many different ones, or none of the order.
    """
    counts = Counter[str]()
    for part in parts:
        counts.update(part)
    unknown = whole and counts and columns.behaviours and not counts.keys() & set(columns.behaviours)
    if unknown or len(counts) > MAX_BEHAVIOURS:
        common = ", ".join(map(shown, sorted(counts, key=lambda each: (-counts[each], each))[:_SHOWN]))
        raise InputError(
            f"Column {columns.behaviour!r} has none of the behaviours that --behaviours names"
            if unknown
            else f"Column {columns.behaviour!r} does not look like behaviours",
            code="LOG-BEHAVIOURS",
            found=f"{len(counts):,} different values, such as {common}"
            if unknown
            else f"more than {MAX_BEHAVIOURS} different values",
            expected=", ".join(columns.behaviours or ()) if unknown else "a few values, such as view, cart, purchase",
            fix="correct --behaviour-column or --behaviours",
        )


def describe_behaviours(
    counts: Mapping[str, int], columns: InteractionColumns, takes_back: Collection[str] = ()
) -> list[str]:
    """Says which behaviours the order does not name, and which of the order the log does not have, in sentences.

    Args:
        counts: Number of rows of each behaviour.
        columns: The names of the log's columns, and the order of the behaviours.
        takes_back: Values of the column that take an interaction back. They need no place in the order.
    """
    named = columns.behaviours
    if columns.behaviour is None or not counts:
        return []
    other = [each for each in in_order(counts, columns) if each not in takes_back and each not in (named or ())]
    listed = ", ".join(f"{shown(each)} {counts[each]:,}" for each in other)
    if named is None:
        return [f"Behaviours without an order, so that none ends a journey: {listed}. --behaviours gives one."]
    told = []
    if other:
        told.append(f"Not named by --behaviours, and taken for weaker than all of them: {listed}.")
    if absent := [each for each in named if each not in counts]:
        told.append(f"Named by --behaviours, and not in the log: {', '.join(absent)}.")
    return told
