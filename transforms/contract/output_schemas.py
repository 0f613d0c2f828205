"""Arrow types of the columns that cleaning adds, and of rejected rows."""

import pyarrow as pa

from .added_columns import AddedColumns
from .columns import SIMILARITY_COLUMNS

ADDED_FIELDS = (
    pa.field("noise_probability", pa.float32(), nullable=False),
    pa.field("keep", pa.bool_(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("weight", pa.float32(), nullable=False),
    *(pa.field(name, pa.float32()) for name in SIMILARITY_COLUMNS),
)
"""The columns that cleaning adds to every interaction, under the names of `ADDED_COLUMNS`."""

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


def added_fields(added: AddedColumns) -> tuple[pa.Field, ...]:
    """Returns ADDED_FIELDS under the names that they have in an output."""
    return tuple(field.with_name(added.written[field.name]) for field in ADDED_FIELDS)
