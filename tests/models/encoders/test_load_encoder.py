import json
import shutil

import numpy as np
import pytest
import torch
import transformers

from iadsr.models.core.errors import InputError
from iadsr.models.encoders import load_encoder as encoders
from iadsr.models.encoders.load_encoder import load_encoder


def test_causal_models_use_the_last_token(tiny_causal_encoder, tolerance):
    encoder = load_encoder(str(tiny_causal_encoder))
    assert encoder.pooling == "last"
    model = transformers.AutoModel.from_pretrained(tiny_causal_encoder)
    with torch.inference_mode():
        expected = torch.nn.functional.normalize(model(torch.tensor([[4, 6]])).last_hidden_state[0, -1], dim=0)
    vectors = encoder.encode(["red dress", ""])
    np.testing.assert_allclose(vectors[0], expected, atol=tolerance)
    assert not vectors[1].any()  # no tokens, so a vector of zeros


def test_a_models_own_pooling_and_maximum_length_are_used(tiny_encoder, tmp_path, tolerance):
    directory = shutil.copytree(tiny_encoder, tmp_path / "tiny")
    (directory / "1_Pooling").mkdir()
    (directory / "1_Pooling" / "config.json").write_text(
        json.dumps({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False})
    )
    (directory / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 5}))
    encoder = load_encoder(str(directory))
    assert encoder.pooling == "cls"
    model = transformers.AutoModel.from_pretrained(directory)
    with torch.inference_mode():
        states = model(torch.tensor([[2, 7, 7, 7, 3]])).last_hidden_state
    expected = torch.nn.functional.normalize(states[0, 0], dim=0)
    np.testing.assert_allclose(encoder.encode(["lamp " * 9])[0], expected, atol=tolerance)


def test_a_local_model_is_identified_by_the_content_of_its_files(tiny_encoder, tmp_path):
    here = load_encoder(str(tiny_encoder))
    copy = shutil.copytree(tiny_encoder, tmp_path / "deep" / "tiny-bert")
    (copy / "notes.md").write_text("not part of the model")
    there = load_encoder(str(copy))
    assert (there.name, there.revision) == (here.name, here.revision) == ("tiny-bert", here.revision)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"hidden_dropout_prob": 0.2}))
    assert load_encoder(str(copy)).revision != here.revision


def test_unknown_names_are_refused_with_a_suggestion(monkeypatch):
    def offline(name, **_):
        raise FileNotFoundError(f"no network for {name}\nand a second line")

    monkeypatch.setattr(encoders, "snapshot_download", offline)
    with pytest.raises(InputError, match="minilmm cannot be found") as error:
        load_encoder("minilmm")
    assert error.value.fix == "did you mean --encoder minilm?"
    assert error.value.found == "FileNotFoundError: no network for minilmm"
    with pytest.raises(InputError, match="check the name and the network"):
        load_encoder("nobody/such-model")


def test_an_invalid_name_is_refused():
    with pytest.raises(InputError, match="cannot be found"):
        load_encoder("no such/encoder name")


def test_the_revision_of_a_hub_model_is_its_commit(tiny_encoder, tmp_path, monkeypatch):
    snapshot = shutil.copytree(tiny_encoder, tmp_path / "snapshots" / "0123abc")
    monkeypatch.setattr(encoders, "snapshot_download", lambda name, **_: str(snapshot))
    encoder = load_encoder("someone/tiny")
    assert (encoder.name, encoder.revision) == ("someone/tiny", "0123abc")


def test_a_directory_without_a_model_is_refused(tmp_path, tiny_encoder, capfd):
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(tmp_path))
    damaged = shutil.copytree(tiny_encoder, tmp_path / "damaged")
    (damaged / "model.safetensors").write_bytes(b"not weights")
    with pytest.raises(InputError, match="cannot be loaded"):
        load_encoder(str(damaged))
    assert capfd.readouterr().err == ""


def test_pickled_weights_are_refused(tiny_encoder, tmp_path, tolerance):
    directory = shutil.copytree(tiny_encoder, tmp_path / "tiny")
    (directory / "model.safetensors").rename(directory / "pytorch_model.bin")
    with pytest.raises(InputError, match="no weights that are safe to read") as error:
        load_encoder(str(directory))
    assert (error.value.code, error.value.found) == ("ENCODER-WEIGHTS", "pytorch_model.bin")
