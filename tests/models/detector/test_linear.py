import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from iadsr.models.core.windows import TILED_ROWS
from iadsr.models.detector.linear import Linear, linear, tiled


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """As in the pipeline. Threads share rows out, and each would have rows left over."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


SIZES = [(1, 1), (6, 8), (33, 16), (64, 7), (192, 128), (768, 64)]
"""What a layer reads and what it gives."""


@settings(max_examples=20)
@given(st.sampled_from(SIZES), st.integers(0, 250), st.integers(0, 250), st.integers(0, 2**16))
def test_a_row_has_the_same_bits_whatever_rows_come_with_it(size, start, number, seed):
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(250, size[0], generator=generator)
    weight, bias = torch.randn(size[1], size[0], generator=generator), torch.randn(size[1], generator=generator)
    steps = torch.randn(96, size[0], 5, generator=generator).transpose(1, 2)  # as after a convolution
    with torch.no_grad():
        assert torch.equal(linear(steps, weight)[:32], linear(steps[:32], weight))
        for terms in ((weight, bias), (weight, None)):
            whole, part = linear(values, *terms), linear(values[start : start + number].clone(), *terms)
            assert torch.equal(part, whole[start : start + number])
            torch.testing.assert_close(whole, F.linear(values, *terms), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 5, 3), (4, 0, 3), (2, TILED_ROWS, 3)])
def test_a_layer_is_torchs_own(shape):
    layer, values = Linear(3, 4), torch.randn(shape)
    expected = F.linear(values, layer.weight, layer.bias)
    assert torch.equal(layer(values), expected)  # with gradients
    with torch.inference_mode():
        torch.testing.assert_close(layer(values), expected)


def test_rows_are_filled_up_with_zeros():
    assert tiled(torch.ones(1, 2)).shape == (TILED_ROWS, 2)
    assert tiled(torch.ones(1, 2)).sum() == 2
    assert tiled(torch.ones(TILED_ROWS, 1, 2)).shape == (TILED_ROWS, 1, 2)
    assert tiled(torch.ones(TILED_ROWS + 1, 1, 2)).shape == (2 * TILED_ROWS, 1, 2)


@pytest.mark.parametrize("instructions", ["SSE4_2", "AVX2", "AVX512"])
def test_so_it_is_on_other_processors(instructions):
    # Told so before it is loaded, Intel's library takes the code of an older processor.
    tests = [f"{__file__}::{test_a_row_has_the_same_bits_whatever_rows_come_with_it.__name__}"]
    tests += [str(Path(__file__).with_name("test_scoring.py")), "-k", "same_bits or same_to_the_bit"]
    command = [sys.executable, "-m", "pytest", "--quiet", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "MKL_ENABLE_INSTRUCTIONS": instructions}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout[-3000:]
    assert "5 passed" in ran.stdout
