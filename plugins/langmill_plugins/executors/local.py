"""Partitions over the cores of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.reduction import ForkingPickler
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import PrivateAttr

from langmill.api import Context, Executor, FactoryError, Field

if TYPE_CHECKING:
    from multiprocessing.context import SpawnProcess

T = TypeVar("T")
R = TypeVar("R")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
AHEAD = 2  # partitions in flight per process, so that results that wait for their turn do not pile up
# Seconds that a process waits for the next step, which begins without the second or two that a new one takes to start; and seconds
# after which it is no longer asked, less, so that it is never asked while it ends. While a stage trains, none is left.
WAITS, ASKED = 30.0, 15.0


class Local(Executor):
    """Runs partitions in processes of this machine, one per core.

    Processes are started afresh (spawn), go from one step to the next, and end when there is nothing to do. One partition, or
    `workers: 1`, runs in this process. Results come in the order of the partitions, whatever the number of workers. A process
    that dies names its partition.
    """

    workers: int = Field(0, ge=0, description="processes; 0 for one per core, 1 for this process alone")
    _idle: list[_Worker] = PrivateAttr(default_factory=list)

    def map(self, work: Callable[[T], R], partitions: Sequence[T], context: Context) -> Iterator[R]:
        """Results in the order of the partitions. An error inside ``work`` is raised here as it was; a process that dies
        raises FactoryError. Closing the iterator, or an interrupt, ends the processes."""
        count = min(self.workers or cores(), len(partitions))
        if count <= 1:
            yield from map(work, partitions)
            return
        pool: list[_Worker] = []
        done = False
        try:
            while len(pool) < count:
                pool.append(self._waiting() or _started())
            yield from _in_order(pool, work, partitions, context)
            done = True
        finally:
            if done:
                for worker in pool:
                    worker.since = time.monotonic()
                self._idle += pool
            else:
                _end(pool)

    def _waiting(self) -> _Worker | None:
        """A process that is done with an earlier step, if there is one that is sure to be there still."""
        while self._idle:
            worker = self._idle.pop()
            if time.monotonic() - worker.since < ASKED and worker.process.is_alive():
                return worker
            _end([worker])
        return None


def cores() -> int:
    """The cores this process may use, which in a container are fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass
class _Worker:
    """A process and what it is busy with: the number of a partition, None when it is idle, and since when it is (``monotonic``)."""

    process: SpawnProcess
    pipe: Connection[Any, Any]
    busy: int | None = None
    since: float = field(default_factory=time.monotonic)


def _started() -> _Worker:
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe()
    process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _end(pool: Sequence[_Worker]) -> None:
    for worker in pool:
        worker.pipe.close()
        worker.process.terminate()
    for worker in pool:
        worker.process.join()


def _in_order(
    pool: Sequence[_Worker], work: Callable[[T], R], partitions: Sequence[T], context: Context
) -> Iterator[Any]:
    done: dict[int, Any] = {}
    given = turn = 0
    while turn < len(partitions):
        for worker in pool:
            if worker.busy is None and given < min(len(partitions), turn + AHEAD * len(pool)):
                worker.busy = given
                try:
                    worker.pipe.send((work, partitions[given]))
                except (BrokenPipeError, ConnectionResetError):
                    raise _died(worker, len(partitions), context) from None
                given += 1
        ready = wait([worker.pipe for worker in pool if worker.busy is not None])
        for worker in pool:
            if worker.busy is not None and worker.pipe in ready:
                done[worker.busy] = _receive(worker, len(partitions), context)
                worker.busy = None
        while turn in done:
            yield done.pop(turn)
            turn += 1


def _receive(worker: _Worker, count: int, context: Context) -> Any:
    try:
        fine, result = worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        raise _died(worker, count, context) from None
    if fine:
        return result
    raise result


def _died(worker: _Worker, count: int, context: Context) -> FactoryError:
    worker.process.join(5)
    code = worker.process.exitcode
    how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
    memory = ", as when memory runs out" if code == -signal.SIGKILL else ""
    return FactoryError(
        f"{context.place}: the process at work on partition {(worker.busy or 0) + 1} of {count} died ({how}{memory}). "
        "What was finished is kept: run again, with fewer processes (--set run.workers=1) if memory is short"
    )


def _serve(pipe: Connection[Any, Any]) -> None:
    """A worker's life: take a partition, give its result, until the pipe is closed or nothing comes for long. Ctrl-C is the
    parent's affair."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in THREADS:  # read when the libraries are imported: the cores have a process each
        os.environ.setdefault(name, "1")
    while True:
        try:
            if not pipe.poll(WAITS):
                return
            work, partition = pipe.recv()
        except (EOFError, OSError):
            return
        try:
            pipe.send(attempt(work, partition))
        except OSError:
            return
        except Exception as fault:
            pipe.send((False, FactoryError(f"a result can not cross to another process: {fault}")))


def attempt(work: Callable[[Any], Any], partition: Any) -> tuple[bool, Any]:
    """Whether the work on a partition went well, and its result or its error, fit to cross to another process."""
    try:
        return True, work(partition)
    except Exception as fault:
        fault.add_note("".join(traceback.format_exception(fault)))
        return False, _portable(fault)


def _portable(fault: Exception) -> Exception:
    """The error itself if it survives the way to another process, else its words."""
    try:
        copy = ForkingPickler.loads(ForkingPickler.dumps(fault))
    except Exception:
        return FactoryError(f"{type(fault).__name__}: {fault}")
    return fault if isinstance(copy, Exception) else FactoryError(f"{type(fault).__name__}: {fault}")
