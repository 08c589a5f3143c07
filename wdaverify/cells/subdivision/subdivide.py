r"""Enumeration of cells by subdivision: the fast way on bounded supports of low dimension.

Vertices and edges of the arrangement are kept, no polyhedron and no linear program: each neuron in
turn is evaluated at all vertices and splits the edges whose ends have opposite signs. The number of
vertices per cell grows with the dimension (1 in two dimensions, 5 in six, 50 in ten). A complex
that grows large is cut in two along the first neuron that splits it, which bounds the memory.

Every sign is decided by a bound of the errors of the vertex and of the evaluation, or else in
rational arithmetic. That is exact for *simple* arrangements, in which no vertex lies on more
hyperplanes than it must; anything else is refused by :class:`DegenerateArrangement`.
"""

from collections.abc import Callable, Iterator

import numpy as np

from wdaverify.cells.block import Block
from wdaverify.cells.frame import Frame
from wdaverify.cells.parallel import in_order
from wdaverify.cells.subdivision.cells import blocks_of
from wdaverify.cells.subdivision.complex import Subdivision
from wdaverify.cells.subdivision.exact import ExactArrangement
from wdaverify.cells.subdivision.faces import halves
from wdaverify.cells.subdivision.reach import check_reach
from wdaverify.cells.subdivision.roles import roles_of
from wdaverify.cells.subdivision.start import DegenerateArrangement, corners_of
from wdaverify.cells.subdivision.values import Products, Values
from wdaverify.cells.subdivision.vertices import LOOSE, Vertices
from wdaverify.limits import Limits
from wdaverify.network import ReLUNetwork

__all__ = ["DegenerateArrangement", "subdivision_blocks"]

DOING = "enumerating cells"

Part = tuple[Subdivision, dict[int, bool]]
"""Some of the complex, and the signs that define it."""

Answer = tuple[list[Block], DegenerateArrangement | None]
"""What a process says of a part."""

SHARES = 4
"""Parts for each process."""

LARGE = 60_000
"""Vertices from which a part is cut in two; the halves are finished one after the other."""


def subdivision_blocks(
    network: ReLUNetwork,
    frame: Frame,
    *,
    limits: Limits | None = None,
    progress: Callable[[int], None] | None = None,
    workers: int = 1,
    products: Products | None = None,
) -> Iterator[Block]:
    """Yield every cell once, in blocks, in the order of the patterns: off before on.

    Parameters
    ----------
    network, frame
        What to enumerate; at least one hidden neuron.
    limits
        Checked after every neuron.
    progress
        Called with the number of cells so far.
    workers
        Processes that share the parts of a large complex; the cells and their order are the same.
    products
        What multiplies matrices: numpy by default, else
        :class:`~wdaverify.cells.subdivision.device.DeviceProducts`. Same cells, same order.

    Raises
    ------
    DegenerateArrangement
        The arrangement is not simple, or the support is not a bounded, simple polytope of at
        most ten dimensions. In a complex cut in parts this may come after blocks of other parts:
        the refusal says which parts are missing. Where the
        frame has walls that stand for infinity, cells of other parts may be missing, too.
    LimitReached
        More cells, time or memory than ``limits`` allow.
    EnumerationError
        The complex violates one of its invariants: a defect.
    """
    limits = limits or Limits()
    parts: list[Part] = [(_start(network, frame, products), {})]
    if workers > 1:
        yield from _shared(parts, limits, progress, workers)
    else:
        yield from _finished(parts, limits, progress, LARGE)


def _finished(
    parts: list[Part], limits: Limits, progress: Callable[[int], None] | None, large: int
) -> Iterator[Block]:
    """Yield the cells of some parts, one part after the other."""
    stack, done = parts[::-1], 0
    while stack:
        part, signs = stack.pop()
        try:
            for cells in _cut_until_large(part, large):
                known = done + cells + sum(waiting.cells for waiting, _ in stack)
                limits.check(DOING, known)
                if progress is not None:
                    progress(known)
            if not part.finished:
                stack.extend(reversed(_halved(part, signs)))
                continue
            check_reach(part)
            blocks = list(blocks_of(part))
        except DegenerateArrangement as refusal:
            refusal.pending = (signs, *(left for _, left in reversed(stack)))
            raise
        done += part.cells
        for block in blocks:
            limits.check(DOING)
            yield block


def _shared(
    parts: list[Part], limits: Limits, progress: Callable[[int], None] | None, workers: int
) -> Iterator[Block]:
    """Do the same in several processes: parts are cut here until there are enough of them."""
    parts, later, refused = _dealt(parts, limits, SHARES * workers)
    count = 0
    for k, (blocks, refusal) in enumerate(_answers(parts, limits, workers)):
        for block in blocks:
            limits.check(DOING, count := count + len(block.patterns))
            if progress is not None:
                progress(count)
            yield block
        if refusal is not None:
            refusal.pending += (*(signs for _, signs in parts[k + 1 :]), *later)
            raise refusal
    if refused is not None:
        refused.pending = later
        raise refused


def _dealt(
    parts: list[Part], limits: Limits, enough: int
) -> tuple[list[Part], tuple[dict[int, bool], ...], DegenerateArrangement | None]:
    """Cut parts until there are enough; return those before a refusal, signs of the rest, and it.

    Cut and halved is exactly where :func:`_finished` does it.
    """
    parts = parts.copy()
    while len(parts) < enough:
        unfinished = [k for k, (part, _) in enumerate(parts) if not part.finished]
        if not unfinished:
            break
        k = min(unfinished, key=lambda k: parts[k][0].next)
        try:
            for _ in _cut_until_large(parts[k][0], LARGE):
                limits.check(DOING, sum(part.cells for part, _ in parts))
            if not parts[k][0].finished:
                parts[k : k + 1] = _halved(*parts[k])
        except DegenerateArrangement as refusal:
            return parts[:k], tuple(signs for _, signs in parts[k:]), refusal
    return parts, (), None


def _answers(parts: list[Part], limits: Limits, workers: int) -> Iterator[Answer]:
    """Return the answers for parts, in order, from processes unless there is but one part."""
    if len(parts) > 1:
        return in_order([(part, LARGE) for part in parts], _service, workers, limits)
    return iter([_answer(part, LARGE, limits) for part in parts])


def _service(limits: Limits) -> Callable[[tuple[Part, int]], Answer]:
    return lambda request: _answer(*request, limits)


def _answer(part: Part, large: int, limits: Limits) -> Answer:
    """Return the cells of a part, and the refusal if there was one."""
    blocks: list[Block] = []
    try:
        for block in _finished([part], limits, None, large):
            blocks.append(block)  # noqa: PERF402  (those before a refusal count)
    except DegenerateArrangement as refusal:
        return blocks, refusal
    return blocks, None


def _halved(part: Subdivision, signs: dict[int, bool]) -> list[Part]:
    """Cut a part along the first neuron that splits it, if one does."""
    neuron = _first_split(part)
    if neuron is None:
        return [(part, signs)]
    off, on = halves(part, neuron)
    return [(off, signs | {neuron: False}), (on, signs | {neuron: True})]


def _start(network: ReLUNetwork, frame: Frame, products: Products | None = None) -> Subdivision:
    if network.neurons == 0:
        raise DegenerateArrangement("the network has no hidden neuron")
    corners = corners_of(frame)
    reach = np.abs(corners.points.astype(np.float64)).max(axis=0)
    exact = ExactArrangement(network, frame)
    with np.errstate(over="ignore", invalid="ignore"):
        values = Values(exact, reach * (1 + 2 * LOOSE) + 2 * LOOSE * reach.max(), products)
    if not values.finite:
        raise DegenerateArrangement("pre-activations on the support overflow")
    vertices = Vertices(values, exact, roles_of(exact, corners, values), corners)
    return Subdivision(vertices, corners)


def _cut_until_large(part: Subdivision, large: int = LARGE) -> Iterator[int]:
    """Cut by one neuron or more until the part is large; tell each time how many cells it has."""
    vertices = part.vertices
    starts = vertices.values.starts.tolist()
    while part.next < starts[-1]:
        if part.next in starts:
            vertices.enter(starts.index(part.next))
        if vertices.roles.cutting[part.next]:
            part.cut(part.next)
            yield part.cells
        part.next += 1
        if vertices.count > large:
            break


def _first_split(part: Subdivision) -> int | None:
    """Return the first neuron that is off in some cells and on in others, if there is one."""
    v = part.vertices
    bits = v.bits[:, : v.neurons]
    some = (np.bitwise_or.reduce(v.positive, axis=1)[:, None] & bits).any(axis=0)
    both = v.positive | v.zero
    everywhere = (np.bitwise_and.reduce(both, axis=1)[:, None] & bits).any(axis=0)
    return next(iter(np.flatnonzero(some & ~everywhere).tolist()), None)
