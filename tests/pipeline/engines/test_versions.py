import pytest

from iadsr.models.core.errors import EngineError
from iadsr.pipeline.engines.versions import as_text, installed_versions, refuse_other_versions


def test_the_versions_here_fit_those_here():
    here = installed_versions()
    assert {"python", "iadsr", "apache-beam", "torch"} <= set(here)
    refuse_other_versions(as_text(here), here)


def test_what_differs_is_named_on_both_sides():
    with pytest.raises(EngineError) as error:
        refuse_other_versions("python 3.11.2, iadsr 0.1.0, torch 2.9", {"python": "3.12.1", "iadsr": "0.1.0"})
    assert error.value.code == "ENGINE-VERSIONS"
    assert error.value.found == "python 3.12.1, torch none"
    assert error.value.expected == "python 3.11.2, torch 2.9"
