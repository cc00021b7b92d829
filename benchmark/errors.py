"""What a user can get wrong, told apart from what we get wrong."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


class InputError(ValueError):
    """A value that came from the user cannot be used; the message quotes it and says what to do.

    The command line prints the message as one line and exits with 2; any other exception is a defect of ours.
    """


def one_line(error: BaseException) -> str:
    """An error's kind and message in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn the system's refusal to let `path` be read into one clear line.

    Raises:
        InputError: in the place of an OSError.
    """
    try:
        yield
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}") from error


def unknown(kind: str, name: str, known: Iterable[str]) -> InputError:
    """The error for a name that is not in a list: it quotes the name, suggests the nearest, and gives the list."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return InputError(f"unknown {kind} {name!r}{hint} (known: {', '.join(names) or 'none'})")
