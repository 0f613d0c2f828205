import apache_beam as beam
import pytest
from apache_beam.runners.portability.fn_api_runner.fn_runner import FnApiRunner

from iadsr.models.core.errors import ArtifactError, ConservationError, UsageError
from iadsr.pipeline.engines.engine_errors import run_in_thread, translated_errors, translated_submission

LOST = ConservationError("Rows of a.parquet do not add up", code="ROWS-FILE", found="1", expected="2", fix="run again")


def fail(_):
    raise LOST


def test_an_error_of_a_worker_comes_back_with_all_its_parts():
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | beam.Create([1]) | beam.Map(fail)
    with pytest.raises(ConservationError) as error:
        run_in_thread(pipeline)
    assert (error.value.what, error.value.code) == (LOST.what, "ROWS-FILE")
    assert (error.value.found, error.value.expected, error.value.fix) == ("1", "2", "run again")


def test_the_last_error_in_the_text_is_the_one_and_beams_remark_is_cut_off():
    text = (
        "Traceback\n  iadsr.models.core.errors.InputError: IADSR-A: first\n\nDuring handling\n"
        "iadsr.models.core.errors.ArtifactError: IADSR-MODEL-JSON: model is broken\n"
        "  found:    7 [while running 'Score']\n\nmore"
    )
    with pytest.raises(ArtifactError) as error, translated_errors():
        raise RuntimeError(text)
    assert (error.value.what, error.value.found) == ("model is broken", "7")


def test_what_is_not_ours_passes_as_it_is():
    with pytest.raises(RuntimeError, match="disk on fire"), translated_errors():
        raise RuntimeError("disk on fire")
    with pytest.raises(ConservationError) as error, translated_errors():
        raise LOST
    assert error.value is LOST


def test_a_runner_that_takes_no_job_is_told_in_beams_words():
    with pytest.raises(UsageError) as error, translated_submission():
        raise RuntimeError("Unable to fetch the job server jar\n  stage it at /opt/jar")
    assert (error.value.code, error.value.found) == (
        "BEAM-SUBMIT",
        "Unable to fetch the job server jar stage it at /opt/jar",
    )
    # What a worker says may hold a row, and is no refusal.
    with pytest.raises(RuntimeError), translated_submission():
        raise RuntimeError("Traceback (most recent call last):\n  ValueError: anna")
    with pytest.raises(ConservationError), translated_submission():
        raise LOST


def test_a_pipeline_that_works_ends_quietly():
    pipeline = beam.Pipeline(FnApiRunner())
    _ = pipeline | beam.Create([1]) | beam.Map(str)
    run_in_thread(pipeline)
