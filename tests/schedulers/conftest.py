import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def airflow_bin() -> Path:
    """The folder of programs of an environment with Airflow, which `make test-airflow` makes."""
    return Path(os.environ["IADSR_AIRFLOW"]).absolute() / "bin"
