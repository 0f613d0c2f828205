import numpy as np

from iadsr.models.core.mix_bits import mix_bits


def test_the_numbers_are_those_of_splitmix64():
    # The first three of the generator with seed 0: the finaliser of 1, 2 and 3 times its step.
    steps = np.arange(1, 4, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    assert mix_bits(steps).tolist() == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_the_shape_stays():
    assert mix_bits(np.zeros((2, 3), np.uint64)).shape == (2, 3)
