"""What is registered in one test is unknown in the next."""

import sys
from importlib import import_module

import pytest

from wdaverify import registry

HOMES = {
    "wdaverify.loss": "LOSSES",
    "wdaverify.norms": "NORMS",
    "wdaverify.bounds.registry": "METHODS",
    "wdaverify.bounds.options": "METHODS",
    "wdaverify.importers.onnx_operators": "OPERATORS",
    "wdaverify.importers.torch_operators": "OPERATORS",
}


@pytest.fixture
def registries():
    """Registries as the package has them, before and after."""
    tables = [getattr(import_module(home), name) for home, name in HOMES.items()]
    before = [dict(table) for table in tables]
    yield
    for module in registry._modules:
        sys.modules.pop(module, None)
    registry._modules.clear()
    registry._loaded.clear()
    for table, known in zip(tables, before, strict=True):
        for name in set(table) - set(known):
            del table[name]
