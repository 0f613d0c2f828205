"""The archives that users install. They are built from a copy of the tracked files: the working tree stays clean."""

import ast
import shutil
import subprocess
import sys
import tarfile
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path, PurePosixPath

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "transforms", "models")


def run(*command: str | Path, cwd: Path) -> str:
    result = subprocess.run(list(map(str, command)), cwd=cwd, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{command}\n{result.stdout[-2000:]}\n{result.stderr[-2000:]}"
    return result.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    """A copy of the files that a commit would hold: those under version control and new ones that are not ignored."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("no git checkout: clone the repository, with git installed")
    target = tmp_path_factory.mktemp("source") / "checkout"
    listed = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)
    return target


@pytest.fixture(scope="module")
def built(source) -> Path:
    """The directory with the sdist and the wheel that `python -m build` makes, the wheel from the sdist."""
    out = source.parent / "built"
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, source, cwd=source.parent)
    return out


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    target = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel, cwd=target)
    return target


def sdist_names(directory: Path) -> set[str]:
    (path,) = directory.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        return {str(PurePosixPath(*PurePosixPath(name).parts[1:])) for name in archive.getnames()}


def modules(folder: str) -> set[str]:
    return {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).rglob("*.py")}


def test_the_sdist_of_setup_py_and_of_build_holds_all_that_building_needs(source, built):
    run(sys.executable, "setup.py", "--quiet", "sdist", "--dist-dir", source.parent / "legacy", cwd=source)
    for names in (sdist_names(source.parent / "legacy"), sdist_names(built)):
        assert names >= {"setup.py", "pyproject.toml", "README.md", "LICENSE", "constraints.txt", "Makefile"}
        assert names >= {"pipeline/report/templates/report.html.j2", "tests/test_packaging.py"}
        assert names >= {"runner_configs/local.yaml"}
        for package in PACKAGES:
            assert names >= modules(package) | {f"{package}/py.typed"}
        assert not [name for name in names if "__pycache__" in name or name.startswith((".venv", "demo/"))]


def test_the_wheel_holds_three_packages_under_iadsr_and_nothing_else(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read("iadsr-0.1.0.dist-info/METADATA").decode()
        scripts = archive.read("iadsr-0.1.0.dist-info/entry_points.txt").decode()
    assert {name.split("/")[0] for name in names} == {"iadsr", "iadsr-0.1.0.dist-info"}
    # The __init__.py at the root of the checkout stays out: it only helps type checkers.
    assert {name.split("/")[1] for name in names if name.startswith("iadsr/")} == set(PACKAGES)
    for package in PACKAGES:
        assert names >= {f"iadsr/{name}" for name in modules(package)} | {f"iadsr/{package}/py.typed"}
    assert "iadsr/pipeline/report/templates/report.html.j2" in names
    assert "Requires-Python: >=3.11" in metadata
    assert "iadsr = iadsr.pipeline.cli:main" in scripts
    assert any(name.endswith("LICENSE") for name in names)


def required(wheel) -> dict[str, Requirement]:
    """Returns what an install without extras requires, by name."""
    with zipfile.ZipFile(wheel) as archive:
        lines = archive.read("iadsr-0.1.0.dist-info/METADATA").decode().splitlines()
    found = [Requirement(line.removeprefix("Requires-Dist: ")) for line in lines if line.startswith("Requires-Dist: ")]
    return {requirement.name: requirement for requirement in found if requirement.marker is None}


def test_every_dependency_is_bounded_on_both_sides_and_counted_in_the_documentation(wheel):
    for requirement in required(wheel).values():
        assert {bound.operator for bound in requirement.specifier} == {">=", "<"}, str(requirement)
    assert len(required(wheel)) == 22
    assert "Twenty-two direct dependencies" in (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")


def test_all_that_is_imported_is_declared(wheel, parse_source):
    distributions, declared = packages_distributions(), set(required(wheel))
    for path in (ROOT / name for package in PACKAGES for name in modules(package)):
        for node in ast.walk(parse_source(path)):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names.append(node.module or "")
            for name in {name.partition(".")[0] for name in names} - sys.stdlib_module_names:
                assert declared & set(map(canonicalize_name, distributions[name])), f"{path.name} imports {name}"


def test_an_installed_iadsr_lives_beside_a_users_own_folders(installed, tmp_path):
    for package in PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text(f"MINE = '{package}'\n")
    (tmp_path / "script.py").write_text(
        "import sys\n"
        f"sys.path.append({str(installed)!r})\n"
        "import models, pipeline, transforms\n"
        "import iadsr.models.core.errors, importlib.resources\n"
        "print(models.MINE, pipeline.MINE, transforms.MINE)\n"
        "print(iadsr.models.core.errors.__file__)\n"
        "print((importlib.resources.files('iadsr.pipeline.report') / 'templates' / 'report.html.j2').is_file())\n"
    )
    # The editable install of the checkout must not be found. The options -S and -E would hide jinja2 too.
    program = (
        "import runpy, sys\n"
        "sys.meta_path[:] = [f for f in sys.meta_path if 'editable' not in repr(f).lower()]\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        f"runpy.run_path({str(tmp_path / 'script.py')!r}, run_name='__main__')\n"
    )
    lines = run(sys.executable, "-c", program, cwd=tmp_path).splitlines()
    assert lines[0] == "models pipeline transforms"
    assert Path(lines[1]).is_relative_to(installed)
    assert lines[2] == "True"


def test_the_errors_need_nothing_heavy(tmp_path):
    program = (
        "import sys; from iadsr.models.core.errors import InputError; "
        "print(sorted(set(sys.modules) & {'torch', 'apache_beam', 'pyarrow', 'matplotlib', 'numpy'}))"
    )
    assert run(sys.executable, "-c", program, cwd=tmp_path).strip() == "[]"
