"""Partitions over the machines of a Ray cluster."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from langmill.api import Context, Executor, FactoryError, Field, MissingInput, missing_package

from .local import AHEAD, attempt, cores

T = TypeVar("T")
R = TypeVar("R")
STORE = 128 << 20  # bytes of a local Ray's object store: what crosses are names of files and counts


class Ray(Executor):
    """Runs partitions as Ray tasks, on this machine or on a cluster.

    Without `address` a Ray of its own is started on this machine, and ended with this process. On a cluster every node needs
    the same langmill and packages, and must see the recipe's folder, the data folder and the run's folder under the same
    paths, since partitions cross as files there. What was lost with a node Ray does again elsewhere, at most three times.
    """

    address: str | None = Field(
        None, description="a cluster: auto, HOST:PORT or ray://HOST:PORT; null: this machine alone"
    )
    workers: int = Field(
        0, ge=0, description="tasks at a time; 0 for one per core, of the whole cluster if there is one"
    )

    def map(self, work: Callable[[T], R], partitions: Sequence[T], context: Context) -> Iterator[R]:
        """Results in the order of the partitions. An error inside ``work`` is raised here as it was; work that Ray could not
        do raises FactoryError. Closing the iterator, or an interrupt, ends the tasks."""
        if not partitions:
            return
        ray = self._joined(context)
        task = ray.remote(num_cpus=1)(attempt)
        count = self.workers or int(ray.cluster_resources().get("CPU", 1))
        given: dict[Any, int] = {}  # tasks that are not done yet, and their partitions
        done: dict[int, Any] = {}
        begun = turn = 0
        try:
            while turn < len(partitions):
                while len(given) < count and begun < min(len(partitions), turn + AHEAD * count):
                    given[task.remote(work, partitions[begun])] = begun
                    begun += 1
                for ended in ray.wait(list(given))[0]:
                    number = given.pop(ended)
                    try:
                        fine, result = ray.get(ended)
                    except ray.exceptions.RayError as error:
                        raise FactoryError(_lost(error, number, len(partitions), context)) from None
                    if not fine:
                        raise result
                    done[number] = result
                while turn in done:
                    yield done.pop(turn)
                    turn += 1
        finally:
            for left in given:
                ray.cancel(left)

    def _joined(self, context: Context) -> Any:
        """Ray, started or joined once in a process; it ends what it started when this process ends. Raises MissingInput when
        there is no Ray, or none at the address."""
        # Both are read when Ray is imported: no reports to its makers; a Ray of our own listens on loopback alone.
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        if self.address is None:
            os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
        try:
            import ray
        except ImportError:
            raise missing_package("run.use: ray", "ray", "ray") from None
        if not ray.is_initialized():
            options: dict[str, Any] = {"address": self.address}
            if self.address is None:
                options = {"address": "local", "num_cpus": self.workers or cores(), "object_store_memory": STORE}
            logging.getLogger("ray").setLevel(logging.ERROR)
            try:
                ray.init(**options, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
            except (ConnectionError, OSError, RuntimeError, ValueError, ImportError) as error:
                where = "Ray does not start on this machine"
                if self.address:
                    where = f"no Ray cluster at '{self.address}', or it wants a token (set RAY_AUTH_MODE=token)"
                raise MissingInput(f"{context.place}: {where}: {error}") from None
        return ray


def _lost(error: Exception, number: int, count: int, context: Context) -> str:
    reason = str(getattr(error, "cause", None) or error).strip().splitlines() or [""]
    return (
        f"{context.place}: Ray could not do partition {number + 1} of {count}: {type(error).__name__}: "
        f"{reason[0][:300]}. What was finished is kept: run again"
    )
