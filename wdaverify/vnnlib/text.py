"""From a file to s-expressions: nested lists of words, one command after the other.

Nothing here recurses, and what a file may take is limited before it is taken: bytes after
unpacking, words, depth.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from wdaverify.errors import ProblemError
from wdaverify.storage.places import existing_file

__all__ = [
    "DEEPEST",
    "LARGEST",
    "MOST",
    "Expression",
    "expressions",
    "read_bytes",
    "read_text",
    "shown",
]

LARGEST: Final = 64 * 2**20
"""Most bytes of a file, after unpacking."""

MOST: Final = 12 * 10**6
"""Most words and brackets of a file: three million bounds."""

DEEPEST: Final = 100
"""Most brackets that may be open at a time."""

Expression = str | list["Expression"]
"""A word, or a list of expressions."""

_WORD: Final = re.compile(r"""[()]|[^\s()";|]+|;[^\n]*|(?P<strange>["|])""")
_GZIP: Final = b"\x1f\x8b"


def read_text(path: Path) -> str:
    """Return the text of a file, unpacked if it is compressed by gzip (whatever its name).

    Raises
    ------
    ProblemError
        No such file, more than `LARGEST` bytes, a broken archive, or no text.
    """
    wanted = "a VNN-LIB file"
    content = read_bytes(path, wanted, LARGEST)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ProblemError(f"expected {wanted}, found one beginning {content[:12]!r}") from None


def read_bytes(path: Path, wanted: str, largest: int) -> bytes:
    """Return the content of a file, unpacked if it is compressed by gzip.

    Parameters
    ----------
    wanted
        What it should be, for messages.
    largest
        Most bytes, after unpacking.

    Raises
    ------
    ProblemError
        No such file, more bytes, or a broken archive.
    """
    existing_file(path, wanted)
    try:
        with path.open("rb") as file:
            packed = file.read(2) == _GZIP
        with gzip.open(path) if packed else path.open("rb") as file:
            content = file.read(largest + 1)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise ProblemError(f"expected {wanted}, found a broken gzip archive") from None
    except OSError as error:
        raise ProblemError(f"expected {wanted}, found {error.strerror}") from None
    if len(content) > largest:
        raise ProblemError(f"expected {wanted} of at most {largest} bytes, found more")
    return content


def expressions(text: str) -> Iterator[tuple[int, list[Expression]]]:
    """Yield the commands of a text with the line that each begins on.

    Raises
    ------
    ProblemError
        A bracket too many or too few, a word outside of brackets, nesting deeper than
        `DEEPEST`, more than `MOST` words; the message names the line.
    """
    stack: list[list[Expression]] = []
    first = 1
    for line, word in _words(text):
        if word == "(":
            if len(stack) == DEEPEST:
                raise ProblemError(f"line {line}: expected at most {DEEPEST} brackets deep")
            first = first if stack else line
            stack.append([])
        elif not stack:
            raise ProblemError(f"line {line}: expected '(', found {shown(word)}")
        elif word != ")":
            stack[-1].append(word)
        else:
            done = stack.pop()
            if stack:
                stack[-1].append(done)
            else:
                yield first, done
    if stack:
        raise ProblemError(f"line {first}: expected ')' at the end of the file, found none")


def _words(text: str) -> Iterator[tuple[int, str]]:
    """Yield words and brackets with their lines, without comments."""
    line, seen = 1, 0
    for count, match in enumerate(_WORD.finditer(text)):
        word, start = match.group(), match.start()
        line += text.count("\n", seen, start)
        seen = start
        if count >= MOST:
            raise ProblemError(f"line {line}: expected at most {MOST} words, found more")
        if match.group("strange"):
            raise ProblemError(f"line {line}: expected words and brackets, found {word!r}")
        if word[0] != ";":
            yield line, word


def shown(expression: Expression) -> str:
    """Return the beginning of an expression as it is written, in quotes, on one line."""
    parts: list[str] = []
    todo: list[Expression] = [expression]
    while todo and sum(map(len, parts)) < 60:
        part = todo.pop()
        if isinstance(part, list):
            todo += [")", *reversed(part), "("]
        else:
            parts.append(part)
    text = " ".join(parts).replace("( ", "(").replace(" )", ")")
    return repr(text if len(text) <= 60 and not todo else f"{text[:57]}...")
