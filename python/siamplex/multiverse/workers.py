"""Where trainings run: processes of this machine, or the workers of a Dask cluster.

In either case the death of a worker costs only the training it was doing, which is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import replace
from typing import Any

from joblib.externals.loky import get_reusable_executor

from siamplex.errors import TrainingError, UsageError
from siamplex.multiverse.training import Job, Result, train
from siamplex.run.progress import say

_AGAIN = 3  # times that a training is begun again whose worker died
_AHEAD = 2  # jobs a worker that wait their turn

Work = Callable[[Job], Result]


def run_here(jobs: Iterator[Job], count: int, work: Work = train) -> Iterator[Result]:
    """Results of jobs as they come, by ``count`` processes of this machine; by this one where that is 1.

    Raises TrainingError where processes die again and again.
    """
    if count == 1:
        yield from map(work, jobs)
        return
    try:
        yield from _by_processes(jobs, count, work)
    finally:
        with suppress(Exception):  # there may be none any more
            get_reusable_executor(max_workers=count).shutdown(wait=False, kill_workers=True)


def _by_processes(jobs: Iterator[Job], count: int, work: Work) -> Iterator[Result]:
    under_way: dict[Future[Result], Job] = {}
    again: list[Job] = []
    deaths = 0
    while True:
        try:
            while len(under_way) < _AHEAD * count and (job := again.pop() if again else next(jobs, None)):
                again.append(job)  # until it is handed over
                under_way[get_reusable_executor(max_workers=count).submit(work, job)] = again.pop()
            if not under_way:
                return
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                result = future.result()
                del under_way[future]
                yield result
        except BrokenProcessPool:
            deaths += 1
            again += under_way.values()
            under_way.clear()
            if deaths > _AGAIN:
                raise TrainingError(f"expected worker processes that live, found that {deaths} of them died") from None
            say(f"a worker process died: {len(again)} trainings that were under way begin again")


def run_on_cluster(jobs: Iterator[Job], address: str, work: Work = train) -> Iterator[Result]:
    """The same by the workers of the Dask cluster whose scheduler is at ``address``.

    Dask itself gives the trainings of a worker that is gone to another one.  Raises UsageError where there is no such
    cluster, TrainingError where a training kills its workers again and again.
    """
    try:
        from distributed import Client, as_completed
    except ImportError:
        raise UsageError("--scheduler: expected the package distributed (pip install 'siamplex[cluster]')") from None
    try:
        client = Client(address, timeout=20, set_as_default=False)
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(f"--scheduler: expected a Dask scheduler at {address}, found none: {error}") from None
    with client:
        yield from _submitted(client, as_completed, jobs, work)


def _in_own_folder(work: Work, job: Job) -> Result:
    """Work with files in the folder of the Dask worker, which Dask clears when a worker has died."""
    from distributed import get_worker

    return work(replace(job, scratch=str(get_worker().local_directory)))


def _submitted(client: Any, as_completed: Any, jobs: Iterator[Job], work: Work) -> Iterator[Result]:
    waiting = as_completed(loop=client.loop)
    known: dict[str, tuple[Job, int]] = {}

    def submit(job: Job, tries: int = 0) -> None:
        future = client.submit(_in_own_folder, work, job, pure=False, retries=_AGAIN)
        known[future.key] = job, tries
        waiting.add(future)

    def fill() -> None:
        room = _AHEAD * max(1, len(client.nthreads())) - len(known)
        for _, job in zip(range(room), jobs, strict=False):
            submit(job)

    fill()
    for future in waiting:
        job, tries = known.pop(future.key)
        if future.status not in ("error", "cancelled"):
            # a result may be lost with its worker after all, is then computed anew, and waited for here
            yield future.result()
        elif tries < _AGAIN and "KilledWorker" in type(future.exception()).__name__:
            say(f"training {job.training.id} lost its worker again and again; it begins anew")
            submit(job, tries + 1)
        else:
            raise TrainingError(f"training {job.training.id}: expected a result of the cluster, found: {future.status}")
        fill()
