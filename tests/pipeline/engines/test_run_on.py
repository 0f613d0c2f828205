from types import SimpleNamespace
from typing import Any, cast

import pytest

from iadsr.models.core.errors import EngineError
from iadsr.pipeline.engines.run_on import run_on, trouble_in

LOG = """
26/11/28 09:30:00 INFO StandaloneAppClient: Connecting to master spark://h:7077...
26/11/28 09:30:09 WARN TaskSchedulerImpl: Initial job has not accepted any resources; check your cluster UI to ensure
26/11/28 09:31:00 ERROR TaskSchedulerImpl: Lost executor 0 on 10.0.0.7: Command exited with code 137
26/11/28 09:31:00 ERROR Other: Something of no interest
"""


def test_only_what_a_user_can_do_something_about_is_told():
    assert list(trouble_in(LOG)) == [
        "Initial job has not accepted any resources; check your cluster UI to ensure",
        "Lost executor 0 on 10.0.0.7: Command exited with code 137",
    ]


class Job:
    """A job that an engine lost."""

    cancelled = False

    def wait_until_finish(self, duration=None):
        raise RuntimeError("Pipeline job-1 failed in state FAILED: quota of CPUs exceeded")

    def cancel(self):
        self.cancelled = True


def test_a_job_that_a_cloud_gives_up_is_no_bug_of_ours_and_is_cancelled():
    job = Job()
    engine, pipeline = SimpleNamespace(name="Dataflow", here=False, server=None), SimpleNamespace(run=lambda: job)
    with pytest.raises(EngineError) as error:
        run_on(cast(Any, engine), cast(Any, pipeline), print)
    assert error.value.code == "ENGINE-JOB"
    assert "Dataflow could not finish the job" in str(error.value)
    assert "quota of CPUs" in error.value.found
    assert job.cancelled
