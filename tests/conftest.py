"""Fixtures of all tests, and what pytest says at its end about tests that did not run."""

import ast
import gc
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest
from apache_beam.io.filesystem import BeamIOError, FileMetadata, FileSystem
from filelock import FileLock
from hypothesis import settings

# Processes side by side have more threads than there are cores. Threads of torch that wait must not keep a core busy.
# Read when torch is loaded, which no import above does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# No test is timed: on a busy machine any of them may take long.
settings.register_profile("iadsr", deadline=None)
settings.load_profile("iadsr")

# Clusters take minutes and programs of their own: `make test-engines` names the folder that holds them.
collect_ignore = [] if "IADSR_ENGINES" in os.environ else ["engines"]
# So do an image for Dataflow and an emulator of Google's storage: `make test-dataflow`.
collect_ignore += [] if "IADSR_DATAFLOW" in os.environ else ["dataflow"]
# So does a scheduler: `make test-airflow`.
collect_ignore += [] if "IADSR_AIRFLOW" in os.environ else ["schedulers"]

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "blue", "dress", "lamp", "gel", "soap")


MAX_PROCESSES = 8
"""Of `pytest -n auto`. Each takes more than a gigabyte of memory."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """Returns the number of processes for `pytest -n auto`: one for each core that may be used."""
    from iadsr.pipeline.engines.runner import usable_cores

    return min(usable_cores(), MAX_PROCESSES)


@pytest.fixture(scope="session")
def parse_source() -> Callable[[Path], ast.AST]:
    """Parses a source file without garbage collection, during which CPython 3.11 sometimes raises SystemError here."""

    def parse(path: Path) -> ast.AST:
        gc.disable()
        try:
            return ast.parse(path.read_text(encoding="utf-8"))
        finally:
            gc.enable()

    return parse


@pytest.fixture(scope="session")
def made_once(tmp_path_factory) -> Callable[[str, Callable[[Path], None]], Path]:
    """Makes a directory that all processes of a test run share: the first one that needs it makes it."""
    directory = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        directory = directory.parent  # a worker's own directory lies in the one of the run

    def made_once(name: str, make: Callable[[Path], None]) -> Path:
        with FileLock(directory / f"{name}.lock"):
            if not (directory / name).exists():
                unfinished = directory / f"{name}.unfinished-{os.getpid()}"
                unfinished.mkdir()
                make(unfinished)
                unfinished.rename(directory / name)
        return directory / name

    return made_once


@pytest.fixture(scope="session")
def tiny_encoder(tmp_path_factory) -> Path:
    """A directory with a real BERT of 8 dimensions and random weights. It reads at most 12 tokens of WORDS."""
    import transformers

    directory = tmp_path_factory.mktemp("encoders") / "tiny-bert"
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **SHAPE)
    _save(transformers.BertModel, config, "[CLS] $A [SEP]", directory)
    return directory


@pytest.fixture(scope="session")
def tiny_causal_encoder(tmp_path_factory) -> Path:
    """A directory with a real Llama of 8 dimensions and random weights."""
    import transformers

    directory = tmp_path_factory.mktemp("encoders") / "tiny-llama"
    config = transformers.LlamaConfig(vocab_size=len(WORDS), num_key_value_heads=2, **SHAPE)
    _save(transformers.LlamaForCausalLM, config, "$A", directory)
    return directory


SHAPE = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def _save(model_class, config, template: str, directory: Path) -> None:
    import torch
    import transformers
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=template, special_tokens=[(word, WORDS.index(word)) for word in ("[CLS]", "[SEP]")]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]"}
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=12, **special)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model_class(config).save_pretrained(directory)
    fast.save_pretrained(directory)


class MemoryStore(FileSystem):
    """An object store for memory:// paths. It holds names with bytes and shows a file when its upload is closed."""

    files: ClassVar[dict[str, bytes]] = {}
    directories = False  # HDFS has them
    renames_onto_files = True  # HDFS does not

    @classmethod
    def scheme(cls):
        return "memory"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def mkdirs(self, path):
        pass

    def has_dirs(self):
        return self.directories

    def _list(self, dir_or_prefix):
        found = {path: data for path, data in sorted(self.files.items()) if path.startswith(dir_or_prefix)}
        yield from (FileMetadata(path, len(data), 0.0) for path, data in found.items())

    def create(self, path, mime_type=None, compression_type=None):
        store = self.files

        class Upload(io.BytesIO):
            def close(self):
                store.setdefault(path, self.getvalue()) if not self.closed else None
                super().close()

        self.files.pop(path, None)
        return Upload()

    def open(self, path, mime_type=None, compression_type=None):
        if path not in self.files:
            raise FileNotFoundError(path)
        return io.BytesIO(self.files[path])

    def copy(self, source_file_names, destination_file_names):
        raise NotImplementedError

    def rename(self, source_file_names, destination_file_names):
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            if destination in self.files and not self.renames_onto_files:
                raise BeamIOError("rename failed", {source: FileExistsError(destination)})
            self.files[destination] = self.files.pop(source)

    def exists(self, path):
        return path in self.files

    def delete(self, paths):
        missing = [path for path in paths if path not in self.files]
        if missing:
            raise BeamIOError("delete failed", {path: FileNotFoundError(path) for path in missing})
        for path in paths:
            del self.files[path]

    def size(self, path):
        return len(self.files[path])

    def last_updated(self, path):
        return 0.0

    def metadata(self, path):
        return FileMetadata(path, self.size(path), 0.0)


@pytest.fixture
def store(monkeypatch) -> type[MemoryStore]:
    """An empty object store at memory://."""
    monkeypatch.setattr(MemoryStore, "files", {})
    return MemoryStore


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says which tests were skipped, grouped by reason. A reason says what would have to be there."""
    files_by_reason = defaultdict(Counter)
    for report in terminalreporter.stats.get("skipped", []):
        if isinstance(report.longrepr, tuple):  # not an expected failure
            files_by_reason[report.longrepr[2].removeprefix("Skipped: ")][report.nodeid.partition("::")[0]] += 1
    if files_by_reason:
        terminalreporter.section("not tested")
    for reason, files in sorted(files_by_reason.items()):
        terminalreporter.line(reason)
        for file, count in sorted(files.items()):
            terminalreporter.line(f"    {count} test{'s' * (count != 1)} in {file}")
