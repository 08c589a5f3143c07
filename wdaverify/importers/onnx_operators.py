"""The operators of ONNX, each as operations on symbolic tensors.

The names and defaults are those of https://onnx.ai/onnx/operators/. An operator that only moves
data is carried out by the reference implementation of ONNX on the positions of the elements.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from wdaverify.arrays import Integers
from wdaverify.errors import ProblemError, UnsupportedError
from wdaverify.importers.linear import normalise, reduce_sum
from wdaverify.importers.onnx_node import Node, Value, lift
from wdaverify.importers.piecewise import (
    clip,
    leaky,
    max_pool,
    maximum,
    minimum,
    reduce_max,
    sum_of,
)
from wdaverify.importers.tensor import Tensor, concatenate, matmul, multiply
from wdaverify.importers.windows import (
    Axis,
    average_pool,
    convolve,
    padded_counts,
    same_padding,
    valid_counts,
)

__all__ = ["SUPPORTED", "translate"]
