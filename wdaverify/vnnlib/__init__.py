"""VNN-LIB 1.0, the language of verification queries: properties in, properties out.

Read as point-wise problems of order ∞, and written with the network as ONNX, so that other
verifiers can be asked the same.
"""

from wdaverify.vnnlib.deciding import Verdict, decide
from wdaverify.vnnlib.reading import Query, VNNLibProperty, load_vnnlib, read_property

__all__ = ["Query", "VNNLibProperty", "Verdict", "decide", "load_vnnlib", "read_property"]
