"""Random networks and conditions, and a second reading of conditions: on numbers, no network."""

from itertools import pairwise

import numpy as np

import wdaverify as wv


def network(seed, features=2, classes=3, widths=(6, 5), slopes=None):
    rng = np.random.default_rng(seed)
    sizes = [features, *widths, classes]
    weights = [rng.normal(size=(o, i)) for i, o in pairwise(sizes)]
    biases = [0.4 * rng.normal(size=o) for o in sizes[1:]]
    return wv.ReLUNetwork(weights, biases, slopes)


def declarations(features, classes):
    sizes = (("X", features), ("Y", classes))
    return "".join(f"(declare-const {v}_{k} Real)\n" for v, n in sizes for k in range(n))


def box(lower, upper):
    return "".join(
        f"(assert (>= X_{k} {low!r}))\n(assert (<= X_{k} {high!r}))\n"
        for k, (low, high) in enumerate(zip(lower, upper, strict=True))
    )


def condition(rng, classes, depth=3):
    """Return a formula over outputs, as text and as a function of their values (K,)."""
    if depth == 0 or rng.random() < 0.3:
        i, j = rng.choice(classes, 2, replace=False).tolist()
        c = round(float(rng.normal()), 2)
        kind = rng.integers(3)
        if kind == 0:
            return f"(>= Y_{i} Y_{j})", lambda y: y[i] - y[j]
        if kind == 1:
            return f"(<= Y_{i} {c!r})", lambda y: c - y[i]
        return f"(>= (+ Y_{i} (* -2 Y_{j})) {c!r})", lambda y: y[i] - 2 * y[j] - c
    every = bool(rng.integers(2))
    parts = [condition(rng, classes, depth - 1) for _ in range(int(rng.integers(1, 4)))]
    best = min if every else max
    text = f"({'and' if every else 'or'} {' '.join(t for t, _ in parts)})"
    return text, lambda y: best(f(y) for _, f in parts)
