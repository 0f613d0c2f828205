import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from iadsr.models.core.errors import ArtifactError
from iadsr.models.core.item_vectors import LIFE_BINS
from iadsr.models.detector.batch import Batch, IndexedRows
from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import BACKBONES, HEADS, IADSRConfig
from iadsr.models.detector.model_files import fingerprint


def make(backbone="gru4rec", head="agreement"):
    torch.manual_seed(1)
    model = IADSR(
        IADSRConfig(backbone=backbone, head=head, collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10)
    )
    model.metrics = {"users": 1234567, "held_out_auroc": 0.81234}
    model.provenance = {"encoder": "minilm"}
    model.training_options = {"seed": 3}
    return model


@pytest.fixture
def saved(tmp_path):
    make().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change_config(directory, change):
    path = directory / "config.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_saved_model_comes_back_bit_by_bit(tmp_path, backbone):
    model = make(backbone)
    model.save_pretrained(tmp_path / "deep" / "model")
    loaded = IADSR.from_pretrained(tmp_path / "deep" / "model")
    assert loaded.config == model.config
    assert loaded.metrics == model.metrics
    assert loaded.provenance == model.provenance
    assert loaded.training_options == {"seed": 3}
    assert not loaded.training
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("backbone", BACKBONES)
def test_a_loaded_model_computes_the_same_and_draws_no_random_numbers(tmp_path, backbone, head):
    model = make(backbone, head).eval()
    model.save_pretrained(tmp_path)
    before = torch.random.get_rng_state()
    loaded = IADSR.from_pretrained(tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)
    mask = torch.ones(2, 5, dtype=torch.bool)
    vectors = (IndexedRows.of(torch.randn(2, 5, size)) for size in (6, 6, 6, 10, LIFE_BINS))
    batch = Batch(*vectors, torch.rand(2, 5), mask, *[mask] * 5)
    with torch.no_grad():
        assert torch.equal(loaded(batch)[0], model(batch)[0])
    assert all(p.requires_grad and p.device.type == "cpu" for p in loaded.parameters())


def test_the_directory_holds_weights_configuration_and_card_only(saved):
    assert sorted(path.name for path in saved.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    card = (saved / "README.md").read_text()
    assert "1,234,567" in card
    assert "0.8123" in card
    assert "minilm" in card


def test_the_card_says_which_head_it_is(tmp_path):
    for head, words in (("agreement", "vectors learned from other users"), ("paper", "the noise score of the paper")):
        make(head=head).save_pretrained(tmp_path / head)
        assert words in (tmp_path / head / "README.md").read_text()


def test_the_card_says_nested_values_in_words(tmp_path):
    model = make()
    model.provenance = {"embeddings": {"encoder": "minilm", "dimension": 1384, "text_columns": ["title", "brand"]}}
    model.save_pretrained(tmp_path)
    row = "| embeddings | encoder minilm, dimension 1,384, text columns title and brand |"
    assert row in (tmp_path / "README.md").read_text()


def test_the_fingerprint_follows_weights_and_configuration_but_not_the_card(saved):
    before = fingerprint(saved)
    assert len(before) == 64
    (saved / "README.md").write_text("other")
    assert fingerprint(saved) == before
    change_config(saved, lambda described: described["metrics"].update(users=2))
    assert fingerprint(saved) != before


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
def test_a_missing_file_is_named(saved, name):
    (saved / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        IADSR.from_pretrained(saved)
    with pytest.raises(ArtifactError, match=name):
        fingerprint(saved)


def test_a_directory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        IADSR.from_pretrained(tmp_path / "nowhere")


@pytest.mark.parametrize("size", [0, 4, 200, -1])
def test_truncated_weights_are_refused(saved, size):
    path = saved / "model.safetensors"
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(ArtifactError, match=r"model\.safetensors"):
        IADSR.from_pretrained(saved)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"model"', "\ufffe", "[" * 100_000])
def test_a_configuration_that_is_no_object_is_refused(saved, text):
    (saved / "config.json").write_text(text, encoding="utf-16")
    with pytest.raises(ArtifactError, match=r"config\.json"):
        IADSR.from_pretrained(saved)
    (saved / "config.json").write_text(text)
    with pytest.raises(ArtifactError, match=r"config\.json"):
        IADSR.from_pretrained(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda described: described.update(format_version=99), "99"),
        (lambda described: described.pop("format_version"), "format_version None"),
        (lambda described: described.pop("metrics"), "metrics"),
        (lambda described: described.update(config=[]), "config"),
        (lambda described: described["config"].pop("dropout"), "dropout"),
        (lambda described: described["config"].update(surprise=1), "surprise"),
        (lambda described: described["config"].update(backbone="bert4rec"), "bert4rec"),
        (lambda described: described["config"].update(head="mlp"), "mlp"),
        (lambda described: described["config"].update(folds=1), "folds"),
        (lambda described: described["config"].update(folds=0), "folds"),
        (lambda described: described["config"].update(hidden_dimension="8"), "hidden_dimension"),
        (lambda described: described["config"].update(hidden_dimension=-8), "-8"),
        (lambda described: described["config"].update(max_length=True), "max_length"),
        (lambda described: described["config"].update(max_length=2), "max_length"),
        (lambda described: described["config"].update(max_length=10**12), "max_length"),
        (lambda described: described["config"].update(backbone="sasrec", hidden_dimension=9), "two heads"),
        # Nothing of such a size may be allocated: these would take terabytes.
        (lambda described: described["config"].update(hidden_dimension=10**6), "model.safetensors"),
        (lambda described: described["config"].update(backbone="sasrec", max_length=10**6), "model.safetensors"),
        (lambda described: described["config"].update(semantic_dimension=10**6), "model.safetensors"),
        (
            lambda described: described["config"].update(semantic_dimension=10**6, semantic_components=10**6),
            "model.safetensors",
        ),
        (lambda described: described["config"].update(dropout=1.5), "dropout"),
        (lambda described: described["config"].update(hidden_dimension=16), "model.safetensors"),
        (lambda described: described["config"].update(backbone="caser"), "model.safetensors"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused(saved, change, message):
    change_config(saved, change)
    with pytest.raises(ArtifactError, match=message):
        IADSR.from_pretrained(saved)


def test_weights_of_other_names_shapes_or_types_are_refused(saved):
    path = saved / "model.safetensors"
    tensors = load_file(path)
    for change in (
        lambda t: t.pop("calibration"),
        lambda t: t.update(extra=torch.zeros(2)),
        lambda t: t.update(calibration=torch.zeros(3)),
        lambda t: t.update(calibration=torch.zeros(2, dtype=torch.float16)),
        lambda t: t.update(calibration=torch.tensor([1.0, float("nan")])),
        lambda t: t.update(feature_deviation=torch.zeros_like(t["feature_deviation"])),
    ):
        changed = dict(tensors)
        change(changed)
        save_file(changed, path)
        with pytest.raises(ArtifactError, match=r"model\.safetensors"):
            IADSR.from_pretrained(saved)
