"""Real clusters, if small ones: the same answers, also when a worker is killed in mid-run."""

import importlib
import os
import signal
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
from workers.services import counting

import wdaverify as wv
from wdaverify.errors import ProblemError
from wdaverify.limits import Limits
from wdaverify.workers.cluster import dask_cluster
from wdaverify.workers.crew import Crew
from wdaverify.workers.placing import workers_of

slow = pytest.mark.slow


@pytest.fixture
def dask():
    """Address of a scheduler with three workers of one thread, and their process numbers."""
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield cluster.scheduler_address, list(client.run(os.getpid).values())


def question():
    problem = wv.load_problem("problems/breast").head(120)
    return problem, 0.05


def same(one, two):
    assert (one.lower, one.upper, one.multiplier) == (two.lower, two.upper, two.multiplier)
    for field in ("points", "labels", "weights", "origin"):
        left, right = (getattr(value.worst_case, field) for value in (one, two))
        np.testing.assert_array_equal(left, right)


def kill_one(pids, killed):
    """Kill whoever is working after a while."""
    time.sleep(0.7)
    os.kill(pids[0], signal.SIGKILL)
    killed.append(pids[0])


@slow
def test_dask_gives_the_same_with_a_worker_killed(dask):
    problem, radius = question()
    alone = wv.solve(problem, radius=radius, engine="search", workers=1)
    address, pids = dask
    killed = []
    with dask_cluster(address):
        assert workers_of(None) == 3
        same(wv.solve(problem, radius=radius, engine="search"), alone)
        start = time.monotonic()
        killer = threading.Thread(target=kill_one, args=(pids, killed), daemon=True)
        killer.start()
        same(wv.solve(problem, radius=radius, engine="search"), alone)
        took, in_time = time.monotonic() - start, bool(killed)
        killer.join()
    assert in_time, f"it took but {took} s"


@slow
def test_dask_workers_that_die_are_replaced(dask):
    address, _ = dask
    service, rounds = counting(None), [[(k, n) for k in range(6)] for n in range(3)]
    with dask_cluster(address):
        crew = Crew(counting, 3, Limits())
        for one in rounds:
            found = crew.run([(request, request[0]) for request in one])
            assert [value for value, _ in found] == [service(request)[0] for request in one]
            os.kill(found[0][1], signal.SIGKILL)
        crew.close()


@slow
def test_ray_gives_the_same():
    ray = pytest.importorskip("ray")

    problem, radius = question()
    problem = problem.head(40)
    alone = wv.solve(problem, radius=radius, engine="search", workers=1)
    root = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    ray.init(num_cpus=2, include_dashboard=False, runtime_env={"env_vars": {"PYTHONPATH": root}})
    try:
        importlib.import_module("ray.util.joblib").register_ray()
        with joblib.parallel_config(backend="ray", n_jobs=2):
            same(wv.solve(problem, radius=radius, engine="search"), alone)
    finally:
        ray.shutdown()


def test_a_scheduler_that_is_not_there(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr("wdaverify.workers.cluster.PATIENCE", 0.2)
    with (
        pytest.raises(
            ProblemError, match=r"no scheduler answered at tcp://127\.0\.0\.1:9 within 0\.2"
        ),
        dask_cluster("tcp://127.0.0.1:9"),
    ):
        pass


def test_without_dask_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(ProblemError, match=r"wdaverify\[dask\]"), dask_cluster("tcp://x:1"):
        pass


def test_numbers_of_workers():
    assert workers_of(None) == 1
    assert workers_of(3) == 3
    assert workers_of(-1) >= 1
    with pytest.raises(ProblemError, match="found 0"):
        workers_of(0)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        assert workers_of(None) == 2


def test_threads_are_workers_too():
    service = counting(None)
    with joblib.parallel_config(backend="threading", n_jobs=2):
        crew = Crew(counting, 2, Limits())
    found = crew.run([((k, 1), k) for k in range(4)])
    crew.close()
    assert [value for value, _ in found] == [service((k, 1))[0] for k in range(4)]
