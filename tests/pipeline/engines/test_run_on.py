from iadsr.pipeline.engines.run_on import trouble_in

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
