"""The steps of the image, and what is in it afterwards. What Google's launcher and Beam's image bring is not there."""

import re
import subprocess
from importlib import metadata

from iadsr.models.core.option import options_of
from iadsr.pipeline.commands.command_options import CleanOptions


def run(image, *command) -> str:
    wide = {"COLUMNS": "300"}  # so that no name is cut off
    result = subprocess.run(
        command, env={**image.environment, **wide}, cwd=image.place("."), capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_all_is_run_but_what_other_images_bring(image):
    assert [re.split(r"[ =]", step)[0] for step in image.left_out] == ["COPY", "ENTRYPOINT"]


def test_packages_fit_together_and_have_the_tested_versions(image):
    run(image, image.bin / "python", "-m", "pip", "check")
    frozen = run(image, image.bin / "python", "-m", "pip", "freeze", "--all")
    found = dict(line.split("==") for line in frozen.splitlines() if "==" in line)
    for name in ("apache-beam", "numpy", "pyarrow", "torch", "cloudpickle", "protobuf"):
        assert found[name].partition("+")[0] == metadata.version(name).partition("+")[0]


def test_the_programs_are_there(image):
    assert "clean" in run(image, image.bin / "iadsr", "--help")
    assert (image.bin / "iadsr-worker").exists()


def test_the_variables_of_the_launcher_point_to_files(image):
    named = {name: value for name, value in image.variables.items() if name.startswith("FLEX_TEMPLATE_")}
    assert "FLEX_TEMPLATE_PYTHON_PY_FILE" in named
    assert all(image.place(value).is_file() for value in named.values())


def test_the_entry_point_says_which_options_it_takes(image):
    program = image.place(image.variables["FLEX_TEMPLATE_PYTHON_PY_FILE"])
    said = run(image, image.bin / "python", program, "--help")
    assert [name for name in options_of(CleanOptions) if f"--{name.replace('_', '-')}" not in said] == []
