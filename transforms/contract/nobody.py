"""Ids that stand for no one: what programs write where a user is not known.

You need this because all such rows look like one very active user, whose interactions have nothing in common.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .arrow_types import is_string_type, one_chunk

NOBODY = "nobody"
"""Stands for all ids of nobody where users are named."""

_NO_NAMES = (
    *("", "nan", "-nan", "none", "null", "nil", "nill", "undefined", "n/a", "#n/a", "na", "<na>", "nat", "\\n", "-"),
    *("unknown", "anonymous", "anon", "guest", "not set", "(not set)", "(none)", "(null)", "[null]"),
    *("-1", "-1.0", "-9223372036854775808", "00000000-0000-0000-0000-000000000000", "0" * 32),
    "{00000000-0000-0000-0000-000000000000}",
)
"""Texts that name no one, in lower case and without space around them."""

_NO_NUMBERS = (-1, -(2**63))
"""Integers that name no one: codes of missing values. 0 is none of them: many logs number their users from 0."""


def is_nobody(ids: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """Returns which ids stand for no one, bool [n]. A null does.

    Texts are compared without regard to case and to space around them. "0" names a user, as the integer does.
    """
    if is_string_type(ids.type):
        try:
            trimmed = pc.utf8_trim_whitespace(ids)
        except pa.ArrowInvalid:  # in a carried column, text need not be UTF-8
            trimmed = pc.ascii_trim_whitespace(ids)
        plain = pc.ascii_lower(trimmed)
        found = pc.is_in(plain, value_set=pa.array(_NO_NAMES, plain.type))
        return one_chunk(pc.or_(found, ids.is_null())).to_numpy(zero_copy_only=False)
    if pa.types.is_integer(ids.type):
        found = pc.is_in(ids.cast(pa.int64(), safe=False), value_set=pa.array(_NO_NUMBERS, pa.int64()))
        if pa.types.is_uint64(ids.type):
            # The largest numbers would be taken for negative ones. What was -1 is the largest of all.
            found = pc.equal(ids, pa.scalar(2**64 - 1, pa.uint64())).fill_null(False)
        return one_chunk(pc.or_(found, ids.is_null())).to_numpy(zero_copy_only=False)
    return one_chunk(ids.is_null()).to_numpy(zero_copy_only=False)
