"""VNN-LIB 1.0, the language of verification queries: properties in, properties out.

Read as point-wise problems of order ∞, and written with the network as ONNX, so that other
verifiers can be asked the same.
"""

from wdaverify.vnnlib.deciding import Verdict, decide
from wdaverify.vnnlib.exporting import Export, export_vnnlib
from wdaverify.vnnlib.folders import write_queries
from wdaverify.vnnlib.instances import Instance
from wdaverify.vnnlib.reading import Query, VNNLibProperty, load_vnnlib, read_property

__all__ = [
    "Export",
    "Instance",
    "Query",
    "VNNLibProperty",
    "Verdict",
    "decide",
    "export_vnnlib",
    "load_vnnlib",
    "read_property",
    "write_queries",
]
