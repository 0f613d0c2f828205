import argparse

import pytest
from apache_beam.options.pipeline_options import PipelineOptions

from iadsr.models.core.errors import UsageError
from iadsr.pipeline.engines.beam_flags import known_flags, refuse_unknown


def test_every_flag_of_beams_is_known():
    declared: set[str] = set()
    for options in PipelineOptions.__subclasses__():
        if options.__module__ == PipelineOptions.__module__:
            parser = argparse.ArgumentParser(add_help=False)
            options._add_argparse_args(parser)
            declared |= {flag for action in parser._actions for flag in action.option_strings if flag[:2] == "--"}
    assert len(declared) > 100
    assert declared <= known_flags()


def test_an_unknown_flag_is_refused_with_a_suggestion_and_values_are_passed_over():
    refuse_unknown(["--runner=SparkRunner", "--direct_num_workers", "2"], [])
    with pytest.raises(UsageError, match=r"did you mean --drop-rate\?"):
        refuse_unknown(["--runner=x", "--drp-rate", "0.1"], ["--drop-rate"])
    refuse_unknown(["--direct_num_workers", "-1.5"], [])


@pytest.mark.parametrize("flags", [["-drop-rate", "0.3"], ["-t", "0.9"], ["-x"]])
def test_a_flag_of_one_dash_is_refused(flags):
    with pytest.raises(UsageError, match=f"No such option: {flags[0]}"):
        refuse_unknown(flags, ["--drop-rate"])


def test_nothing_is_suggested_for_a_single_letter():
    with pytest.raises(UsageError, match="check the spelling"):
        refuse_unknown(["-o", "mydir"], ["--output"])
