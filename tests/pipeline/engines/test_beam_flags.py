import argparse

import pytest
from apache_beam.options.pipeline_options import PipelineOptions, SetupOptions, WorkerOptions

from iadsr.models.core.errors import UsageError
from iadsr.pipeline.engines.beam_flags import flags_from_config, known_flags, refuse_unknown
from iadsr.pipeline.engines.runner import beam_options


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


def test_configured_flags_repeat_lists_and_leave_out_what_is_off():
    section = {"runner": "SparkRunner", "experiments": ["a", "b"], "streaming": False, "save_main_session": True}
    assert flags_from_config(section) == [
        "--runner=SparkRunner",
        "--experiments=a",
        "--experiments=b",
        "--save_main_session",
    ]


def test_what_is_configured_as_false_is_turned_off_where_beam_has_it_on():
    section = {"use_public_ips": False, "save_main_session": False, "dataflow_kms_key": None, "streaming": False}
    flags = flags_from_config(section)
    assert flags == ["--no_use_public_ips", "--no_save_main_session"]
    options = beam_options(["--runner=DataflowRunner", *flags])
    assert options.view_as(WorkerOptions).use_public_ips is False
    assert options.view_as(SetupOptions).save_main_session is False
