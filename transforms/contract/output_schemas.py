"""Arrow types of the columns that cleaning adds, and of rejected rows."""

from collections.abc import Mapping

import pyarrow as pa

from .columns import SIMILARITY_COLUMNS

ADDED_FIELDS = (
    pa.field("noise_probability", pa.float32(), nullable=False),
    pa.field("keep", pa.bool_(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("weight", pa.float32(), nullable=False),
    *(pa.field(name, pa.float32()) for name in SIMILARITY_COLUMNS),
    pa.field("split", pa.string(), nullable=False),
)
"""The columns that cleaning adds to every interaction, under the names of `ADDED_COLUMNS`."""

USER_FIELDS = (
    pa.field("interactions", pa.int64(), nullable=False),
    pa.field("kept", pa.int64(), nullable=False),
    pa.field("span_seconds", pa.float64()),
    pa.field("active_days", pa.int64()),
    pa.field("interactions_per_active_day", pa.float64()),
    pa.field("share_of_repeats", pa.float64(), nullable=False),
    pa.field("coherence", pa.float64()),
    pa.field("verdict", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
)
"""The columns of the files of users, after the user's id and the first and last time."""


REJECTED_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row_number", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ],
    metadata={"iadsr": "rows that could not be used; row_number counts from 0 in its file; row is JSON"},
)
"""The columns of the files of rejected rows."""


def added_fields(written: Mapping[str, str]) -> tuple[pa.Field, ...]:
    """Returns the columns that an output has of those that cleaning adds.

    Args:
        written: Their names in the output by their names in `ADDED_COLUMNS`, see `AddedColumns.written`.
    """
    return tuple(field.with_name(written[field.name]) for field in ADDED_FIELDS if field.name in written)
