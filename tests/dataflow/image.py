"""Runs the steps of a Dockerfile without docker: in a folder, with a virtual environment in place of the base image.

    python tests/dataflow/image.py FOLDER [NAME=VALUE...]

Absolute paths of the image lie below FOLDER. As with docker, steps run again from the first one that has changed. What
another image would bring is left out.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

CONTEXT = Path(__file__).parents[2]
DOCKERFILE = CONTEXT / "runner_configs" / "Dockerfile"
STATE = "image.json"

STEPS = ("ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT")


@dataclass
class Image:
    """A folder that stands for an image."""

    root: str
    variables: dict[str, str] = field(default_factory=dict)
    """What its processes have in their environment."""
    directory: str = "/"
    arguments: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    """What could not be run here."""
    digests: list[str] = field(default_factory=list)
    """Of each step and all before it."""

    @classmethod
    def load(cls, root: Path) -> "Image":
        return cls(**json.loads((root / STATE).read_text()))

    def place(self, path: str) -> Path:
        """Where a path of the image lies on this machine."""
        return Path(self.root) / os.path.join(self.directory, path).lstrip("/")

    @property
    def bin(self) -> Path:
        return Path(self.root) / "venv" / "bin"

    @property
    def environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {**kept, **self.variables, "PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}


def steps_of(dockerfile: str) -> list[tuple[str, str]]:
    """Instructions and their arguments, without comments."""
    lines = "\n".join(line for line in dockerfile.splitlines() if not line.lstrip().startswith("#"))
    found = [line.strip().partition(" ") for line in re.sub(r"\\\n\s*", " ", lines).splitlines() if line.strip()]
    unknown = {name for name, _, _ in found} - set(STEPS)
    assert not unknown, f"not known here: {unknown}"
    return [(name, rest.strip()) for name, _, rest in found]


def build(root: Path, given: dict[str, str]) -> Image:
    """Runs the steps that have changed. Raises CalledProcessError if one fails."""
    steps = steps_of(DOCKERFILE.read_text(encoding="utf-8"))
    digests = list(_digests(steps, given))
    before = Image.load(root).digests if (root / STATE).exists() else []
    same = next((number for number, pair in enumerate(zip(digests, before, strict=False)) if pair[0] != pair[1]), None)
    same = min(len(before), len(digests)) if same is None else same
    if same <= next(number for number, (name, _) in enumerate(steps) if name == "RUN"):
        same = 0
        shutil.rmtree(root, ignore_errors=True)
        venv.create(root / "venv", with_pip=True)
    image = Image(str(root), arguments=dict(given))
    for number, (name, rest) in enumerate(steps):
        key, _, value = rest.partition("=")
        if name == "ARG":
            image.arguments.setdefault(key, value)
        elif name == "WORKDIR":
            image.directory = rest
            image.place(".").mkdir(parents=True, exist_ok=True)
        elif name == "ENV":
            image.variables[key] = value
        elif name == "ENTRYPOINT" or rest.startswith("--from"):
            image.left_out.append(f"{name} {rest}")
        elif name == "COPY" and number >= same:
            *sources, target = rest.split()
            for source in sources:
                _copy(CONTEXT / source, image.place(target))
        elif name == "RUN" and number >= same:
            print(f"RUN {rest}", flush=True)
            variables = {**image.environment, **image.arguments}
            subprocess.run(["sh", "-ec", rest], cwd=image.place("."), env=variables, check=True)
        image.digests = digests[: number + 1]
        (root / STATE).write_text(json.dumps(asdict(image), indent=2))
    return image


def _copy(source: Path, target: Path) -> None:
    if source.is_file():
        shutil.copy(source, target)
        return
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))


def _digests(steps: list[tuple[str, str]], given: dict[str, str]) -> Iterator[str]:
    digest = hashlib.sha256(f"{sys.version} {sorted(given.items())}".encode())
    for name, rest in steps:
        digest.update(f"\n{name} {rest}\n".encode())
        copied = rest.split()[:-1] if name == "COPY" and not rest.startswith("--from") else ()
        for place in (CONTEXT / source for source in copied):
            for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
                if path.is_file() and "__pycache__" not in path.parts:
                    digest.update(f"{path.relative_to(CONTEXT)}\n".encode() + path.read_bytes())
        yield digest.hexdigest()


def main() -> None:
    """Builds, and says what was left out."""
    image = build(Path(sys.argv[1]).absolute(), dict(word.split("=", 1) for word in sys.argv[2:]))
    for step in image.left_out:
        print(f"Left out, as it needs another image: {step}")


if __name__ == "__main__":
    main()
