"""Proofs without a solver: every neuron is split, a leaf tries a few multipliers at random.

The bounds are poor, but they are bounds, for every loss, norm, order and support; the file claims
less than they give.
"""

import itertools
import math
from fractions import Fraction

from checker.forge import lines_of, tree

from wdaverify.checker.claims import atom
from wdaverify.checker.nodes import decided, position, root
from wdaverify.checker.question import read_question
from wdaverify.checker.transport import FREE, Price, everywhere, is_below, maximum, ring_of
from wdaverify.checker.trees import bound_of_cut
from wdaverify.proof.question import question_line

STEPS = (-2, 0, 2)


def dumb_proof(problem, radius, rng):
    """Return the lines of a proof."""
    maker = _Maker(problem, radius, rng)
    body = [{"atoms": maker.atoms()}, *maker.upper()]
    return lines_of(problem, radius, body, lower=-1e9, upper=1e9)


class _Maker:
    def __init__(self, problem, radius, rng):
        self.q, self.rng = read_question(question_line(problem, radius)), rng
        q = self.q
        steep = q.order == 1 and None in q.upper  # below the slope of the loss nothing is bounded
        self.rate = Fraction(64 if steep else rng.choice([0.5, 2.0, 8.0]))
        self.rate = Fraction(0) if q.order is None else self.rate
        self.zero_one, self.entropy = q.loss == "zero-one", q.loss == "cross-entropy"
        self.mode = rng.choice(["none", "support"])
        self.region = everywhere(q) if self.mode == "support" else None
        self.outer = q.radius if q.order is None else None
        self.price = FREE if self.zero_one else Price(self.rate, q.order or Fraction(1))

    def atoms(self):
        """Leave all mass where it is, but for one sample that moves as far as it may."""
        q = self.q
        stay = [
            [i, q.labels[i], text(q.masses[i]), numbers(q.points[i])] for i in range(len(q.points))
        ]
        for k in range(40, 0, -1):
            moved = [Fraction(v, q.points[0].den) + Fraction(k, 40) for v in q.points[0].ints]
            first = [0, q.labels[0], text(q.masses[0]), [text(v) for v in moved]]
            try:
                _, mass, _, cost = atom(q, first)
            except Exception:  # noqa: BLE001  (outside: a shorter step)
                continue
            if mass * cost <= q.budget[0] or q.order is None:
                return [first, *stay[1:]]
        return stay

    def upper(self):
        """Return the multiplier's line and the trees."""
        q, rest = self.q, []
        best = [Fraction(0) if q.loss == "hinge" else None for _ in q.points]
        for label in range(q.classes):
            owners = [i for i in range(len(q.points)) if label in q.labels_of(i)]
            if not owners:
                continue
            nodes, leaves = self._tree(label)
            if self.zero_one:
                spans = [
                    [i, 0, text(d)] for i in owners if (d := self._clear(i, leaves)) is not None
                ]
                if spans:
                    rest += [{"tree": tree(label, None, self.mode, spans)}, *nodes]
                continue
            for i in owners:
                moved = self.rate * (q.label_cost or 0) * (label != q.labels[i])
                found = max(self._least(affines, i) for affines in leaves) - moved
                best[i] = found if best[i] is None else max(best[i], found)
            rest += [
                {
                    "tree": tree(
                        label, None, self.mode, [[i, 0, number(self.outer)] for i in owners]
                    )
                },
                *nodes,
            ]
        bounds = None if self.zero_one else [text(v) for v in best]
        return [{"multiplier": number(self.rate), "bounds": bounds}, *rest]

    def _tree(self, label):
        """Return the nodes of a tree in preorder, and for every target of a leaf its functions."""
        q = self.q
        others = [j for j in range(q.classes) if j != label]
        nodes, leaves = [], []
        splits = [
            *range(q.neurons),
            *([(j, at) for j in others for at in STEPS] if self.entropy else []),
        ]

        def visit(node, depth):
            if depth == len(splits):
                cuts = self._cuts(node, others)
                nodes.append({"cuts": [cut for group in cuts for cut in group]})
                for group in cuts:
                    found = [bound_of_cut(q, node, cut, label) for cut in group]
                    leaves.append([a for a in found if a is not None] if not node.empty else None)
                return
            what = splits[depth]
            if isinstance(what, int):
                nodes.append({"split": what})
                for on in (False, True):
                    visit(decided(node, *position(q, what), on=on), depth + 1)
            else:
                nodes.append({"margin": what[0], "at": what[1]})
                for side in (1, -1):
                    margins = (*node.margins, (what[0], Fraction(what[1]), side))
                    visit(node._replace(margins=margins), depth + 1)

        visit(root(q, self.region), 0)
        return nodes, [affines for affines in leaves if affines is not None]

    def _cuts(self, node, others):
        objectives = (
            [self._majorant(node, others)] if self.entropy else [{"target": j} for j in others]
        )
        return [[{**o, **self._multipliers(node, k)} for k in range(4)] for o in objectives]

    def _multipliers(self, node, k):
        if k == 0:
            return {}
        rng = self.rng
        neurons = [v for j in range(self.q.neurons) for v in (j, rng.choice([0, rng.random() * k]))]
        rows = [v for j in range(len(self.q.rows)) for v in (j, rng.choice([0, rng.random() * k]))]
        margins = [v for j in range(len(node.margins)) for v in (j, rng.choice([0, rng.random()]))]
        return {"neurons": neurons, "rows": rows, "margins": margins}

    def _majorant(self, node, others):
        """Return an affine function above cross-entropy on the box of margins of the leaf."""
        theta, ends = [0.0] * self.q.classes, []
        for j in others:
            low = max((at for k, at, side in node.margins if k == j and side < 0), default=None)
            high = min((at for k, at, side in node.margins if k == j and side > 0), default=None)
            theta[j] = 0.0 if low is None else 1.0 if high is None else 0.5
            ends.append([(j, float(end)) for end in (low, high) if end is not None])
        gaps = [
            math.log1p(sum(math.exp(m) for _, m in corner)) - sum(theta[j] * m for j, m in corner)
            for corner in itertools.product(*ends)
        ]
        return {"theta": theta, "const": max(gaps) + 1e-12}

    def _least(self, affines, i):
        ring = ring_of(self.q, self.q.points[i], Fraction(0), self.outer)
        found = [maximum(a, ring, self.price) for a in affines]
        return min([v for v in found if v is not None], default=Fraction(10**6))

    def _clear(self, i, leaves):
        """Return the largest radius tried within which the loss is 0; None if there is none."""
        for k in range(12, -1, -1):
            ring = ring_of(self.q, self.q.points[i], Fraction(0), Fraction(k, 8))
            if all(
                any(is_below(a, ring, Fraction(0), strictly=True) for a in group)
                for group in leaves
            ):
                return Fraction(k, 8)
        return None


def text(v):
    return f"{v.numerator}/{v.denominator}"


def number(v):
    return None if v is None else text(v)


def numbers(x):
    return [f"{v}/{x.den}" for v in x.ints]
