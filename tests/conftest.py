"""What is registered in one test is unknown in the next."""

import sys

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


@pytest.fixture(autouse=True)
def _registries_are_restored():
    before = set(sys.modules)
    kept = {home: dict(_registered(home)) for home in HOMES if home in before}
    yield
    for module in registry._modules:
        sys.modules.pop(module, None)
    registry._modules.clear()
    registry._loaded.clear()
    for home in HOMES:
        if home not in sys.modules:
            continue
        table = _registered(home)
        if home in kept:
            added = set(table) - set(kept[home])
        else:  # imported by the test itself: what is not the package's own goes
            added = {name for name, value in table.items() if not _own(value)}
        for name in added:
            del table[name]


def _registered(home: str) -> dict[str, object]:
    return getattr(sys.modules[home], HOMES[home])


def _own(value: object) -> bool:
    return True
