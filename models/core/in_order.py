"""Does pieces of work in several threads, and returns the results in the order of the pieces."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")


def in_order(function: Callable[[Job], Done], jobs: Iterable[Job], workers: int) -> Iterator[Done]:
    """Yields what a function returns for each job, in their order, whatever the number of threads.

    Jobs are taken in order by the calling thread, so they may be drawn from a random generator. Only as many results
    wait as there are threads.

    Args:
        function: Must not change anything that another call reads. It is useful in threads if it is long in torch,
            NumPy or compiled code, which let other threads run.
        jobs: What it is called with.
        workers: Threads; with 1, the calling thread does everything.
    """
    if workers == 1:
        yield from map(function, jobs)
        return
    with ThreadPoolExecutor(workers) as pool:
        waiting: deque[Future[Done]] = deque()
        try:
            for job in jobs:
                waiting.append(pool.submit(function, job))
                if len(waiting) > workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)
