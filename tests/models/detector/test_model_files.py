import subprocess
import sys

import numpy as np
import pytest
import torch

from iadsr.models.detector.iadsr import IADSR
from iadsr.models.detector.model_config import IADSRConfig
from iadsr.models.detector.model_files import read_noise_reference


@pytest.fixture
def saved(tmp_path):
    model = IADSR(IADSRConfig(collaborative_dimension=6, hidden_dimension=8, semantic_dimension=10))
    model.noise_reference.copy_(torch.arange(model.noise_reference.numel()).view_as(model.noise_reference))
    model.provenance = {"encoder": "minilm"}
    model.save_pretrained(tmp_path)
    return tmp_path


def imported(code, names):
    """Which of some modules a process that runs `code` has imported."""
    code += f"\nimport sys; print(*sorted(set(sys.modules) & {set(names)!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_what_inserted_noise_scores_is_read_as_it_was_written(saved):
    reference = read_noise_reference(saved)
    assert reference.dtype == np.float32
    assert np.array_equal(reference.ravel(), np.arange(reference.size))


def test_a_model_directory_is_read_and_checked_without_torch(saved):
    code = (
        "from iadsr.models.detector.model_files import fingerprint, read_description, read_noise_reference\n"
        f"print(read_description({str(saved)!r})['provenance']['encoder'])\n"
        f"fingerprint({str(saved)!r}); read_noise_reference({str(saved)!r})"
    )
    assert imported(code, ["torch"]) == ["minilm"]


def test_a_model_is_loaded_without_torchs_compiler(saved):
    code = f"from iadsr.models.detector.iadsr import IADSR\nIADSR.from_pretrained({str(saved)!r})"
    assert imported(code, ["torch", "sympy", "torch.fx.experimental.symbolic_shapes"]) == ["torch"]
