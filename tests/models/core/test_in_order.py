import threading
import time

import pytest

from iadsr.models.core.in_order import in_order


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_results_come_in_the_order_of_the_jobs(workers):
    def late(job):
        time.sleep(0.002 * (job % 3))
        return 10 * job

    assert list(in_order(late, iter(range(20)), workers)) == [10 * job for job in range(20)]


def test_work_is_done_side_by_side_and_no_further_ahead_than_there_are_threads():
    both, taken, done = threading.Barrier(2, timeout=20), [], 0

    def jobs():
        for job in range(10):
            taken.append(job)
            yield job

    def meet(job):
        both.wait()  # fails if nobody else comes
        return job

    for job in in_order(meet, jobs(), 2):
        done += 1
        assert len(taken) <= job + 4
    assert done == 10


@pytest.mark.parametrize("workers", [1, 3])
def test_an_error_ends_the_work(workers):
    started = []

    def fail(job):
        started.append(job)
        raise ValueError(job)

    with pytest.raises(ValueError, match=r"^0$"):
        list(in_order(fail, range(100), workers))
    assert len(started) <= workers + 1
