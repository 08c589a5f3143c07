"""A part of a question with the reason for it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Guess"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Guess(Generic[T]):
    """A value and why it is that one.

    Parameters
    ----------
    value
        What was chosen.
    words
        The value for people.
    why
        How it came about.
    guessed
        Whether it was chosen here, and not asked for.
    """

    value: T
    words: str
    why: str
    guessed: bool = True
