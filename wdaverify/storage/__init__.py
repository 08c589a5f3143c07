"""Files: problem folders in and out, networks in, arrays and JSON out.

Reading refuses what it does not understand with one line that says where, what was found and what
was expected; writing is all or nothing.
"""

from wdaverify.storage.files import write_arrays, write_json
from wdaverify.storage.networks import load_network
from wdaverify.storage.question import Expected, Overrides
from wdaverify.storage.reader import StoredProblem, load_problem, load_stored
from wdaverify.storage.writer import write_problem

__all__ = [
    "Expected",
    "Overrides",
    "StoredProblem",
    "load_network",
    "load_problem",
    "load_stored",
    "write_arrays",
    "write_json",
    "write_problem",
]
