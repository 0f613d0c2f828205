import numpy as np
import pyarrow as pa

from iadsr.transforms.contract.hashing import hash_values
from iadsr.transforms.rules.non_items import NonItems

from .conftest import found

LOG = [("u", "bag", 0), ("u", "book", 1), ("v", "pen", 2)]


def hashes(*ids: str) -> np.ndarray:
    return np.sort(hash_values(pa.array(ids, pa.string())))


def test_named_items_are_taken(shard):
    assert found(NonItems(hashes("bag", "postage")), shard(LOG)) == [0]


def test_what_is_not_in_the_catalogue_is_taken(shard):
    assert found(NonItems(hashes(), hashes("book", "bag")), shard(LOG)) == [2]
    assert found(NonItems(hashes("bag"), hashes("book", "bag")), shard(LOG)) == [0, 2]
