"""Spreads the bits of 64-bit numbers, for hashes and for choices that follow from a hash."""

import numpy as np


def mix_bits(values: np.ndarray) -> np.ndarray:
    """Spreads every input bit over all output bits: the finaliser of the splitmix64 generator, uint64 of any shape."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
