"""The columns of an interaction log, the columns that cleaning adds, and the columns that a run uses internally.

You need this whenever you name a column.
"""

from dataclasses import dataclass

import pyarrow as pa

from ...models.core.errors import UsageError
from ...models.detector.features import SIMILARITIES

INTERNAL_PREFIX = "__iadsr_"
"""Prefix of the internal columns. No column of the user's log may start with it."""

ROW = f"{INTERNAL_PREFIX}row"
"""Internal column: the number of the row in the whole input, int64. Files count in sorted order."""

TIME = f"{INTERNAL_PREFIX}time"
"""Internal column: the timestamp as an int64 that sorts like it. Only logs whose timestamps are strings have it."""

SIMILARITY_COLUMNS = tuple(f"{name}_similarity" for name in SIMILARITIES)
"""Columns that show how similar an interaction is to its context, one for each similarity of the model."""

ADDED_FIELDS = (
    pa.field("noise_probability", pa.float32(), nullable=False),
    pa.field("keep", pa.bool_(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("weight", pa.float32(), nullable=False),
    *(pa.field(name, pa.float32()) for name in SIMILARITY_COLUMNS),
)
"""The columns that cleaning adds to every interaction."""

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


@dataclass(frozen=True)
class InteractionColumns:
    """The names of the user's columns, by the role that each one plays."""

    user: str = "user_id"
    """User id: string or integer."""
    item: str = "item_id"
    """Item id: string or integer. It must be a string if it is one in the embeddings, and an integer likewise."""
    timestamp: str = "timestamp"
    """Time of the interaction: a number in any unit, an Arrow timestamp or date, or an ISO 8601 string."""
    position: str | None = None
    """Integer column that orders a user's interactions of equal timestamp. None: by item id, then by input order."""

    def __post_init__(self):
        """Refuses a column that is named for two roles."""
        doubled = sorted({name for name in self.required if self.required.count(name) > 1})
        if doubled:
            raise UsageError(
                f"Column {doubled[0]!r} is named for more than one role",
                code="OPTION-COLUMNS",
                found=f"user {self.user!r}, item {self.item!r}, timestamp {self.timestamp!r}, "
                f"position {self.position!r}",
                expected="a different column for each role",
                fix="correct --user-column, --item-column, --timestamp-column or --position-column",
            )

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every file of the log must have."""
        return (self.user, self.item, self.timestamp, *((self.position,) if self.position else ()))
