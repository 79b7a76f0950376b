"""Where trainings run: processes of this machine, or the workers of a Dask cluster.

Either way a worker that dies takes nothing with it but the time of the training it was at, which is done again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import joblib

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
    given: dict[str, Job] = {}

    def remembered(more: Iterator[Job]) -> Iterator[Job]:
        for job in more:
            given[job.training.id] = job
            yield job

    deaths = 0
    todo: Iterator[Job] = remembered(jobs)
    while True:
        try:
            for result in _parallel(todo, count, work):
                given.pop(result.training.id, None)
                yield result
            return
        except joblib.externals.loky.process_executor.BrokenProcessPool as error:
            deaths += 1
            if deaths > _AGAIN:
                raise TrainingError(f"expected worker processes that live, found {deaths} that died: {error}") from None
            say(f"a worker process died; {len(given)} trainings that were under way begin again")
            todo = _chained(list(given.values()), remembered(jobs))
        finally:
            _stop_workers()


def _chained(first: list[Job], then: Iterator[Job]) -> Iterator[Job]:
    yield from first
    yield from then


def _parallel(jobs: Iterator[Job], count: int, work: Work) -> Iterator[Result]:
    pool = joblib.Parallel(
        n_jobs=count, return_as="generator_unordered", max_nbytes=None, batch_size=1,
        pre_dispatch=f"{_AHEAD}*n_jobs",
    )  # fmt: skip
    yield from pool(joblib.delayed(work)(job) for job in jobs)


def _stop_workers() -> None:
    with suppress(Exception):  # there may be none, or none that can be told any more
        joblib.externals.loky.get_reusable_executor().shutdown(wait=False, kill_workers=True)


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


def _submitted(client: Any, as_completed: Any, jobs: Iterator[Job], work: Work) -> Iterator[Result]:
    waiting = as_completed(loop=client.loop)
    known: dict[str, tuple[Job, int]] = {}

    def submit(job: Job, tries: int = 0) -> None:
        future = client.submit(work, job, pure=False, retries=_AGAIN)
        known[future.key] = job, tries
        waiting.add(future)

    def fill() -> None:
        room = _AHEAD * max(1, len(client.scheduler_info(n_workers=-1)["workers"])) - len(known)
        for _, job in zip(range(room), jobs, strict=False):
            submit(job)

    fill()
    for future in waiting:
        job, tries = known.pop(future.key)
        if future.status == "finished":
            yield future.result()
        elif tries < _AGAIN and "KilledWorker" in type(future.exception()).__name__:
            say(f"training {job.training.id} lost its worker; it begins again")
            submit(job, tries + 1)
        else:
            raise TrainingError(f"training {job.training.id}: expected a result of the cluster, found: {future.status}")
        fill()
