"""Where workers run: joblib decides, by its default or by the backend that the user has set.

One call of :class:`joblib.Parallel` places as many long-lived tasks as there shall be workers.
"""

import sys
import threading
from collections.abc import Sequence
from typing import Any

from wdaverify.errors import ProblemError
from wdaverify.workers.wire import Address
from wdaverify.workers.worker import work

__all__ = ["Placing", "workers_of"]

LOCAL = "joblib._parallel_backends"
"""Module of the backends that stay on this machine."""


def workers_of(workers: int | None) -> int:
    """Return a number of workers: as given, or as joblib counts those of its backend.

    Parameters
    ----------
    workers
        Their number; ``-1`` for as many as there is room for; ``None`` for 1, or as many as there
        is room for under a ``joblib.parallel_config`` that names a cluster.

    Raises
    ------
    ProblemError
        Zero workers, or the backend that was set is not there.
    """
    if workers is not None and workers >= 1:
        return workers
    if workers == 0:
        raise ProblemError("workers: expected a number, -1 for all there is room for, found 0")
    if workers is None and "joblib" not in sys.modules:
        return 1  # so nobody can have set a backend
    import joblib  # noqa: PLC0415  (a tenth of a second)

    try:
        return int(joblib.effective_n_jobs(workers))
    except (ValueError, TimeoutError) as error:
        raise ProblemError(f"workers: {' '.join(str(error).split())}") from None


class Placing:
    """Has joblib run a number of workers, now and again when they have died.

    The backend is the one in force when this is made.
    """

    def __init__(self, count: int) -> None:
        from joblib import Parallel, parallel_config  # noqa: PLC0415
        from joblib.parallel import get_active_backend  # noqa: PLC0415

        self.count = count
        backend, _ = get_active_backend()
        self.backend = type(backend).__name__.removesuffix("Backend")
        self.elsewhere = type(backend).__module__ != LOCAL
        self._own = self.backend == "Loky"
        options: dict[str, Any] = {"n_jobs": count, "batch_size": 1, "pre_dispatch": "all"}
        if self._own:
            with parallel_config(backend="loky", inner_max_num_threads=1):
                self._parallel = Parallel(**options)
        else:
            self._parallel = Parallel(**options)
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None

    @property
    def running(self) -> bool:
        """Whether joblib still has tasks of ours."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, addresses: Sequence[Address], key: bytes) -> None:
        """Place the workers; they join at one of the addresses."""
        from joblib import delayed  # noqa: PLC0415

        self.wait()
        self.error = None
        if self._own:  # start the processes, so that joblib prepares for the end before we do
            self._parallel([delayed(int)()])
        tasks = [delayed(work)(tuple(addresses), key, own=self._own) for _ in range(self.count)]
        self._thread = threading.Thread(
            target=self._run, args=(tasks,), daemon=True, name="wdaverify workers"
        )
        self._thread.start()

    def wait(self, seconds: float = 15.0) -> None:
        """Wait until joblib has no task of ours, but not for ever."""
        if self._thread is not None:
            self._thread.join(seconds)

    def _run(self, tasks: list[Any]) -> None:
        try:
            self._parallel(tasks)
        except BaseException as error:  # noqa: BLE001  (told to those who wait for workers)
            self.error = error
