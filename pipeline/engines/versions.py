"""The versions that the bytes of a result depend on, here and on the workers."""

import platform
from importlib import metadata

from ...models.core.errors import EngineError

VERSIONED = ("apache-beam", "pyarrow", "torch", "numpy", "numba", "faiss-cpu", "transformers")
"""Packages whose versions are recorded."""

SUBMITTED = "IADSR_SUBMITTED_BY"
"""Environment variable of a worker: the versions of the machine that submitted the job."""


def installed_versions() -> dict[str, str]:
    """Returns the versions of Python, of iadsr and of the packages above, as installed here."""
    found = {"python": platform.python_version()}
    for name in ("iadsr", *VERSIONED):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def as_text(versions: dict[str, str]) -> str:
    """Writes versions in one line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def refuse_other_versions(submitted: str, here: dict[str, str]) -> None:
    """Compares the versions of a worker with those of the machine that submitted the job.

    Args:
        submitted: The latter, as `as_text` writes them.
        here: The former.

    Raises:
        EngineError: They differ.
    """
    expected = dict(part.split(" ", 1) for part in submitted.split(", "))
    differ = [name for name, version in expected.items() if here.get(name, "none") != version]
    if differ:
        raise EngineError(
            f"A worker on {platform.node()} has other versions than the machine that submitted the job",
            code="ENGINE-VERSIONS",
            found=", ".join(f"{name} {here.get(name, 'none')}" for name in differ),
            expected=", ".join(f"{name} {expected[name]}" for name in differ),
            fix="install the same versions everywhere; docs/clusters.md says how an environment gets to the machines",
        )
