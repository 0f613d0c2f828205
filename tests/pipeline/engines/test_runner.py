import pytest
from apache_beam.io.filesystems import FileSystems
from apache_beam.options.pipeline_options import DirectOptions, GoogleCloudOptions
from apache_beam.runners.job.utils import struct_to_dict
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.transforms.environments import SubprocessSDKEnvironment

from iadsr.models.core.errors import InputError
from iadsr.pipeline.engines.runner import beam_options, is_template, make_runner, runs_here, start_beam


@pytest.mark.parametrize("runner", [[], ["DirectRunner"], ["FnApiRunner"], ["direct"], ["directrunner"]])
def test_local_runs_use_the_in_process_runner_and_never_download_one(runner):
    options = beam_options(["--runner", *runner] if runner else [])
    assert runs_here(options)
    assert type(make_runner(options)) is FnApiRunner
    assert options.view_as(DirectOptions).direct_running_mode == "in_memory"


def test_a_negative_number_of_workers_is_refused():
    with pytest.raises(InputError, match="is negative"):
        beam_options(["--direct_num_workers=-3"])


def test_no_number_of_workers_stands_for_the_cores_that_may_be_used(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5, 6}, raising=False)
    assert beam_options(["--direct_num_workers=0"]).view_as(DirectOptions).direct_num_workers == 3


def test_several_workers_are_processes():
    options = beam_options(["--direct_num_workers=3"])
    assert options.view_as(DirectOptions).direct_num_workers == 3
    environment = make_runner(options)._default_environment
    assert isinstance(environment, SubprocessSDKEnvironment)
    assert "iadsr.pipeline.engines.worker" in environment.command_string


def test_worker_processes_are_told_how_files_are_reached_and_nothing_else():
    flags = ["--s3_endpoint_url=http://h", "--s3_disable_ssl", "--hdfs_host=n", "--job_name=j"]
    told = make_runner(beam_options(["--direct_num_workers=2", *flags]))._provision_info.provision_info
    expected = {"s3_endpoint_url": "http://h", "s3_disable_ssl": True, "hdfs_host": "n"}
    assert struct_to_dict(told.pipeline_options) == expected


def test_the_mode_that_loses_rows_is_refused():
    with pytest.raises(InputError, match="loses rows"):
        beam_options(["--direct_running_mode=multi_threading", "--direct_num_workers=2"])


def test_cloud_flags_pass_through():
    options = beam_options(["--runner=DataflowRunner", "--project=p", "--template_location=gs://b/t"])
    assert options.view_as(GoogleCloudOptions).project == "p"
    assert not runs_here(options)
    assert is_template(options)


def test_a_flag_nobody_knows_is_an_error_with_a_suggestion():
    with pytest.raises(InputError) as error:
        beam_options(["--direct_num_worker=2"])
    assert "--direct_num_worker" in str(error.value)
    assert "did you mean --direct_num_workers?" in str(error.value)
    with pytest.raises(InputError, match=r"Unexpected argument: log\.parquet"):
        beam_options(["log.parquet"])
    with pytest.raises(InputError, match="Unexpected argument: 2"):
        beam_options(["--direct_num_workers", "2", "2"])
    with pytest.raises(InputError, match=r"Unexpected argument: log\.parquet"):
        beam_options(["--save_main_session", "log.parquet"])  # a switch takes no value


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--direct_num_workers=x"], "invalid int value: 'x'"),
        (["--direct_num_worker=2"], "did you mean --direct_num_workers"),
        (["--treshold", "0.3"], "did you mean --threshold"),
        (["--runner=Foo"], "Beam cannot use the runner Foo"),
    ],
)
def test_mistakes_in_flags_are_told_in_a_few_lines(flags, words, capsys):
    with pytest.raises(InputError, match=words):
        beam_options(flags, ["--threshold", "--drop-rate"])
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("beam", [["--direct_num_workers=2"], {"direct_num_workers": 2}])
def test_beam_takes_flags_or_a_mapping_and_its_file_systems_know_them_too(beam, monkeypatch):
    known = []
    monkeypatch.setattr(FileSystems, "set_options", known.append)
    options = start_beam(beam)
    assert options.view_as(DirectOptions).direct_num_workers == 2
    assert known == [options]
    assert start_beam(None).view_as(DirectOptions).direct_num_workers == 1
