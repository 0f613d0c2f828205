"""Finds users whose ids look like one person written in two ways, such as `123` and `123.0`, or `Ann` and `ann`.

One pass over the shards is enough, in any order: of the ids in a plain form, those with the lowest hashes are a sample
that two spellings of one id always enter together.
"""

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..contract.arrow_types import is_string_type
from ..contract.hashing import hash_values

SAMPLE = 8192
"""So many different plain forms are looked at. Logs with no more users are looked at whole."""

_NUMBER = r"^[+-]?[0-9]+(\.0+)?$"


@dataclasses.dataclass(frozen=True)
class IdForms:
    """The plain forms of the ids of some users, or a sample of them."""

    hashes: np.ndarray
    """uint64 [k], ascending: hashes of the plain forms, the lowest SAMPLE of them."""
    spellings: np.ndarray
    """int64 [k], how many ids have each."""

    def __add__(self, other: "IdForms") -> "IdForms":
        """Returns the forms of both."""
        hashes, place = np.unique(np.concatenate([self.hashes, other.hashes]), return_inverse=True)
        spellings = np.bincount(place, np.concatenate([self.spellings, other.spellings]), minlength=len(hashes))
        return IdForms(hashes[:SAMPLE], spellings.astype(np.int64)[:SAMPLE])

    def lookalikes(self, users: int) -> int:
        """Returns about how many of all users have an id that is another spelling of somebody's."""
        alike = int(self.spellings[self.spellings > 1].sum())
        return round(alike * users / max(int(self.spellings.sum()), 1)) if len(self.hashes) == SAMPLE else alike


def id_forms(user_ids: pa.Array) -> IdForms:
    """Returns the plain forms of the ids of different users. Integers have one spelling each."""
    hashes = np.zeros(0, np.uint64)
    if is_string_type(user_ids.type):
        hashes = hash_values(plain_form(user_ids))
    hashes, spellings = np.unique(hashes, return_counts=True)
    return IdForms(hashes[:SAMPLE], spellings[:SAMPLE])


def plain_form(ids: pa.Array) -> pa.Array:
    """Returns texts without what tells spellings apart: case, Unicode form, space around, zeros around a number."""
    plain = pc.utf8_lower(pc.utf8_trim_whitespace(pc.utf8_normalize(ids.cast(pa.large_string()), form="NFKC")))
    number = pc.match_substring_regex(plain, _NUMBER)
    if not pc.any(number).as_py():
        return plain
    short = pc.replace_substring_regex(plain, r"\.0+$", "")
    return pc.if_else(number, pc.replace_substring_regex(short, r"^([+-]?)0+([0-9])", r"\1\2"), plain)
