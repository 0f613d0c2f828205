"""The columns of an interaction log, and every column that cleaning adds."""

from dataclasses import dataclass

import pyarrow as pa

from ...models.core.errors import UsageError
from ...models.detector.features import SIMILARITIES

INTERNAL_PREFIX = "__iadsr_"
"""No column of a user's may start with this."""


ROW = f"{INTERNAL_PREFIX}row"
"""Internal column: number of the row in the whole input (files in sorted order), int64."""


TIME = f"{INTERNAL_PREFIX}time"
"""Internal column, where timestamps are strings: the timestamp as an int64 that sorts like it."""


SIMILARITY_COLUMNS = tuple(f"{name}_similarity" for name in SIMILARITIES)


ADDED_FIELDS = (
    pa.field("noise_probability", pa.float32(), nullable=False),
    pa.field("keep", pa.bool_(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("weight", pa.float32(), nullable=False),
    *(pa.field(name, pa.float32()) for name in SIMILARITY_COLUMNS),
)
"""What `clean` adds to every interaction."""


REJECTED_SCHEMA = pa.schema(
    [
        pa.field("file", pa.string(), nullable=False),
        pa.field("row_number", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("row", pa.string(), nullable=False),
    ],
    metadata={"iadsr": "rows that could not be used; row_number counts from 0 in its file; row is JSON"},
)


@dataclass(frozen=True)
class InteractionColumns:
    """Which columns of the user's log play which part."""

    user: str = "user_id"
    """User id: string or integer."""
    item: str = "item_id"
    """Item id: string or integer, of the same kind as in the embeddings."""
    timestamp: str = "timestamp"
    """Time of the interaction: an integer in any unit, an Arrow timestamp or date, or an ISO 8601 string."""
    position: str | None = None
    """Integer column that orders a user's interactions of equal timestamp; None: item id, then input order."""

    def __post_init__(self):
        """Refuses one column in two parts."""
        doubled = sorted({name for name in self.required if self.required.count(name) > 1})
        if doubled:
            raise UsageError(
                f"Column {doubled[0]!r} is named for more than one part",
                code="OPTION-COLUMNS",
                found=f"user {self.user!r}, item {self.item!r}, timestamp {self.timestamp!r}, "
                f"position {self.position!r}",
                expected="a column of its own for each",
                fix="correct --user-column, --item-column, --timestamp-column or --position-column",
            )

    @property
    def required(self) -> tuple[str, ...]:
        """The columns that every file must have."""
        return (self.user, self.item, self.timestamp, *((self.position,) if self.position else ()))
