"""The same work on a Dask cluster, one worker of which is killed: the same results, bit for bit."""

import os
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from joblib import parallel_config

import wdaverify as wv
from wdaverify.workers import cluster as clusters

PROBLEMS = Path(__file__).parents[2] / "problems"
RADII = (0.02, 0.1)


def solved(problem, workers):
    """Return both ends, multiplier and worst case for every radius."""
    values = [wv.solve(problem, radius=r, engine="search", workers=workers) for r in RADII]
    return [(v.lower, v.upper, v.multiplier, v.worst_case.points.tobytes()) for v in values]


@pytest.fixture
def cluster(monkeypatch):
    """Three worker processes, each of which can be killed; others then take their place."""
    distributed = pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    with (
        distributed.LocalCluster(
            n_workers=3, threads_per_worker=1, processes=True, dashboard_address=None
        ) as started,
        distributed.Client(started) as client,
    ):
        client.wait_for_workers(3)
        yield client


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_dask_cluster_gives_the_same_results_though_a_worker_is_killed(cluster):
    problem = wv.load_problem(PROBLEMS / "breast").head(70)
    alone = solved(problem, 1)
    processes = sorted(cluster.run(os.getpid).values())
    killed = []

    def kill():
        time.sleep(2.0)
        os.kill(processes[0], signal.SIGKILL)
        killed.append(time.monotonic())

    with parallel_config(backend="dask", client=cluster):
        thread = threading.Thread(target=kill)
        thread.start()
        spread = solved(problem, None)
        ended = time.monotonic()
        thread.join()
    assert killed[0] < ended  # it was in mid-run
    assert spread == alone
    assert set(cluster.run(os.getpid).values()) != set(processes)  # it was really gone


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_distances_on_a_dask_cluster(cluster):
    problem = wv.load_problem(PROBLEMS / "iris").replace(loss="zero-one")
    alone = wv.value_curve(problem, engine="cells")
    with parallel_config(backend="dask", client=cluster):
        spread = wv.value_curve(problem, engine="cells")
    assert np.array_equal(alone.lower, spread.lower)
    assert np.array_equal(alone.upper, spread.upper)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_ray_gives_the_same_results():
    ray = pytest.importorskip("ray")
    register_ray = pytest.importorskip("ray.util.joblib").register_ray
    ray.init(num_cpus=2, include_dashboard=False)
    try:
        register_ray()
        problem = wv.load_problem(PROBLEMS / "breast").head(70)
        alone = solved(problem, 1)
        with parallel_config(backend="ray"):
            assert solved(problem, 2) == alone
    finally:
        ray.shutdown()


def test_a_scheduler_that_does_not_answer_is_one_line(monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "PATIENCE", 0.2)
    with (
        pytest.raises(wv.ProblemError, match="no scheduler answered"),
        clusters.dask_cluster("tcp://127.0.0.1:9"),
    ):
        pass
