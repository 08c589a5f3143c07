"""A Dask cluster for the work of one block."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wdaverify.errors import ProblemError

__all__ = ["dask_cluster"]

PATIENCE = 10.0
"""Seconds for a scheduler to answer."""


@contextmanager
def dask_cluster(where: str | None) -> Iterator[None]:
    """Have joblib place workers on a Dask cluster.

    Parameters
    ----------
    where
        Address of its scheduler, ``tcp://host:8786``, or the scheduler file that it wrote; ``None``
        for no cluster.

    Raises
    ------
    ProblemError
        Dask is not installed, or the scheduler does not answer.
    """
    if where is None:
        yield
        return
    try:
        from distributed import Client  # noqa: PLC0415  (an extra)
    except ImportError:
        message = "--dask: needs the package distributed: pip install 'wdaverify[dask]'"
        raise ProblemError(message) from None
    from joblib import parallel_config  # noqa: PLC0415  (a tenth of a second)

    for name in ("distributed", "distributed.core", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # what matters is raised
    given = {"scheduler_file": where} if Path(where).is_file() else {"address": where}
    try:
        client = Client(**given, timeout=PATIENCE)
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
        raise ProblemError(
            f"--dask: no scheduler answered at {where} within {PATIENCE:g} s; expected an address "
            f"like tcp://host:8786 or a scheduler file ({words})"
        ) from None
    with client, parallel_config(backend="dask", client=client):
        yield
