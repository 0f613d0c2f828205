"""The documents against the source: what they link to, the commands, options and modules that they name."""

import ast
import importlib
import inspect
import re
import shlex
from pathlib import Path

import pytest
import typer

from iadsr.pipeline.cli.app import app
from iadsr.pipeline.engines.beam_flags import known_flags

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.md", "docs/*.md", "benchmarks/*.md", "runner_configs/*.md")
    for path in ROOT.glob(pattern)
)
COMMANDS = {
    name: {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    for name, command in typer.main.get_command(app).commands.items()  # pyright: ignore[reportAttributeAccessIssue]
}
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)\s]+)\)")
INLINE = re.compile(r"(?<!`)`([^`]+)`(?!`)")


def prose(text: str) -> str:
    return FENCE.sub("", text)


def anchors(path: Path) -> set[str]:
    """What GitHub names the headings of a page."""
    headings = re.findall(r"^#+ (.*)$", prose(path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document: str, text: str) -> list[str]:
    """The relative links of a page that lead to no file, or to no heading of it."""
    broken = []
    for target in LINK.findall(INLINE.sub("", prose(text))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / document).parent / name if name else ROOT / document
        if not path.exists() or (anchor and anchor not in anchors(path)):
            broken.append(target)
    return broken


def command_lines(text: str) -> list[list[str]]:
    """What a page says to run: lines after a `$`, continued lines joined, and code within sentences."""
    blocks = "\n".join(block for _, block in FENCE.findall(text)).replace("\\\n", " ")
    lines = re.findall(r"^\$ (.*)$", blocks, re.MULTILINE)
    lines += [code.replace("\n", " ") for code in INLINE.findall(prose(text))]
    return [shlex.split(line, comments=True) for line in lines if re.match(r"(iadsr|python -m|--)", line)]


def unknown_words(words: list[str]) -> list[str]:
    """The command, module or options of a command line that do not exist."""
    flags = {word.partition("=")[0].replace("_", "-") for word in words if word.startswith("--")}
    beam = {flag.replace("_", "-") for flag in known_flags()}
    if words[:2] == ["python", "-m"]:
        path = ROOT / Path(*words[2].split(".")).with_suffix(".py")
        source = path.read_text(encoding="utf-8") if path.is_file() else ""
        return [words[2]] * (not source) + [flag for flag in sorted(flags) if f'"{flag}"' not in source]
    if words[0] == "iadsr" and len(words) > 1 and words[1] not in {"COMMAND", "--help"}:
        options = COMMANDS.get(words[1])
        return [words[1]] if options is None else sorted(flags - options - beam - {"--help"})
    benchmarks = " ".join(path.read_text(encoding="utf-8") for path in (ROOT / "benchmarks").glob("*.py"))
    known = set().union(*COMMANDS.values()) | beam | {"--help", "--name"}  # `--name=value` stands for any option
    return [flag for flag in sorted(flags - known) if f'"{flag}"' not in benchmarks]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_relative_link_leads_to_a_file_and_a_heading(document):
    assert broken_links(document, (ROOT / document).read_text(encoding="utf-8")) == []


def missing_files(text: str) -> list[str]:
    """The files of Python that a page names and that do not exist; those without a folder may be in any."""
    folders = ("benchmarks", "models", "pipeline", "runner_configs", "tests", "transforms")
    names = {
        path.name for path in (*ROOT.glob("*.py"), *(path for name in folders for path in (ROOT / name).rglob("*.py")))
    }
    named = re.findall(r"(?<![\w/])(?:[a-z_]+/)*\w+\.py(?!\w)", " ".join(INLINE.findall(text)))
    return [name for name in named if not ((ROOT / name).is_file() if "/" in name else name in names)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_of_python_that_is_named_exists(document):
    assert missing_files((ROOT / document).read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_module_and_option_exists(document):
    lines = command_lines((ROOT / document).read_text(encoding="utf-8"))
    assert {" ".join(words): unknown for words in lines if (unknown := unknown_words(words))} == {}


def test_the_documents_are_found():
    assert {"README.md", "docs/errors.md", "benchmarks/NOTES.md", "runner_configs/README.md"} <= set(DOCUMENTS)
    assert sum(len(command_lines((ROOT / name).read_text(encoding="utf-8"))) for name in DOCUMENTS) > 50


def test_what_is_wrong_is_seen():
    assert broken_links("docs/limits.md", "[a](gone.md) [b](errors.md#gone) [c](errors.md#the-log) [d](#size)") == [
        "gone.md",
        "errors.md#gone",
    ]
    (line,) = command_lines(
        "```console\n$ iadsr clean --drop-rate 0.1 \\\n    --gone 1 --runner=x   # --comment\n```\n"
    )
    assert unknown_words(line) == ["--gone"]
    assert unknown_words(["iadsr", "gone"]) == ["gone"]
    assert unknown_words(["python", "-m", "benchmarks.gone"]) == ["benchmarks.gone"]
    assert unknown_words(["python", "-m", "benchmarks.joins", "--work", "x", "--gone"]) == ["--gone"]
    assert unknown_words(["--gone=1"]) == ["--gone"]
    assert missing_files("`setup.py` `models/setup.py` `test_errors.py` `gone.py::test_x`") == [
        "models/setup.py",
        "gone.py",
    ]


def test_the_output_of_evaluate_that_is_shown_is_in_the_words_of_the_command():
    shown = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    words = re.findall(r"^(?:raw|dropped|weighted|oracle|random): (.*)$", shown, re.MULTILINE)
    assert len(words) == 5
    source = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "pipeline").rglob("*.py"))
    assert [meaning for meaning in words if f'"{meaning}"' not in source] == []


def test_every_line_of_python_that_is_shown_calls_what_there_is():
    """Imports of iadsr resolve, and calls of what is imported have arguments that its signature takes."""
    called = 0
    for document in DOCUMENTS:
        for language, block in FENCE.findall((ROOT / document).read_text(encoding="utf-8")):
            if language != "python":
                continue
            imported = {}
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("iadsr"):
                    module = importlib.import_module(node.module or "")
                    imported |= {alias.asname or alias.name: getattr(module, alias.name) for alias in node.names}
            for node in ast.walk(ast.parse(block)):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in imported:
                    keywords = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                    signature, unpacked = inspect.signature(imported[node.func.id]), len(keywords) < len(node.keywords)
                    (signature.bind_partial if unpacked else signature.bind)(*node.args, **keywords)
                    called += 1
    assert called > 0
