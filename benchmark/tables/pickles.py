"""Large pickles of strangers, read without holding them whole, and without running anything of theirs.

The benchmark's files have several gigabytes. A machine of our own reads them, which replaces each cell's results by a
summary as soon as they are complete. What a pickle may name is what `dartboard.benchmark.pickles` allows.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Callable
from typing import IO, Any, Final

from dartboard.benchmark.errors import InputError
from dartboard.benchmark.pickles import CONTAINERS_AND_NUMBERS, PickledType, find


def load_reducing(source: IO[bytes], reduce: Callable[[dict[Any, Any]], Any]) -> Any:
    """The one object pickled in `source`, `{name: {index: cell, ...}, ...}`, with each cell replaced by `reduce` of it.

    Memory stays at that of one cell and of what `reduce` returns. (The one cell of a dictionary that has no other is
    left as it is: a pickle writes such a dictionary in another way.)

    Args:
        source: a seekable stream, left behind the end of the pickle.
        reduce: is called once for each cell, a dictionary under an integer, in the order of the file.

    Raises:
        InputError: naming what is not allowed; or saying that this is no whole pickle, or that more than 16 MiB come
            between two cells.
    """
    machine = _Machine(source, reduce)
    try:
        return machine.run()
    except InputError:
        raise
    except (IndexError, struct.error) as error:
        short = "it ends too early" if machine.ended else f"one cell in it has more than {WINDOW >> 20} MiB"
        raise InputError(f"not a readable pickle: {short}") from error
    except Exception as error:
        raise InputError(f"not a readable pickle: {error or type(error).__name__}") from error


WINDOW: Final = 1 << 24  # bytes that are at hand whenever a cell begins
CELLS: Final = 2  # marks open where a cell is an item: the top dictionary's and that of `arch2infos`

_FLOAT = struct.Struct(">d").unpack_from
_U16 = struct.Struct("<H").unpack_from
_I32 = struct.Struct("<i").unpack_from
_U32 = struct.Struct("<I").unpack_from


class _Machine:
    """A pickle machine for protocols 2 to 4 that forgets each cell after it was reduced.

    A pickle numbers its objects and refers back to them by number, so a machine has to keep them all. Here, of a
    finished cell only the names it imported are kept; should a later cell refer to another of its objects, that cell is
    read again (from `starts`), and the object kept from then on.
    """

    def __init__(self, source: IO[bytes], reduce: Callable[[dict[Any, Any]], Any]) -> None:
        self.source = source
        self.reduce = reduce
        self.kept: dict[int, Any] = {}
        self.starts: list[tuple[int, int]] = []  # (number of its first object, offset) of each cell after the first
        self.ended = False  # whether the source was read to its end

    def run(self) -> Any:
        """From where the source stands to STOP."""
        return self._execute([], [], {}, replay=None)

    def _recall(self, number: int, before: int) -> Any:
        """The object of this number, from a cell earlier than that whose first object has the number `before`."""
        if number not in self.kept:
            cell = bisect_right(self.starts, (number, 1 << 62)) - 1
            if cell < 0 or number >= before:
                raise InputError(f"not a readable pickle: it refers to object {number}, which it does not hold")
            here = self.source.tell()
            first, offset = self.starts[cell]
            self.source.seek(offset)
            local: dict[int, Any] = {}
            self._execute([{}, "arch2infos", {}], [1, 3], local, replay=first)
            self.source.seek(here)
            if number not in local:
                raise InputError(f"not a readable pickle: it refers to object {number}, which it does not hold")
            self.kept[number] = local[number]
        return self.kept[number]

    def _execute(self, stack: list[Any], marks: list[int], local: dict[int, Any], *, replay: int | None) -> Any:
        """Execute to STOP; or, to `replay` a cell whose first object has that number, to the end of that cell."""
        base = self.source.tell()  # offset of buffer[0]
        buffer = self.source.read(2 * WINDOW)
        ended = len(buffer) < 2 * WINDOW
        if replay is None:
            self.ended = ended
        i = 0
        count = replay or 0  # objects numbered so far
        push, pop = stack.append, stack.pop
        while True:
            op = buffer[i]
            i += 1
            # The most frequent first: nearly all of a file is epochs, their floats and strings such as "x-valid@199".
            if op == 0x47:  # BINFLOAT
                push(_FLOAT(buffer, i)[0])
                i += 8
            elif op == 0x58:  # BINUNICODE
                end = i + 4 + _U32(buffer, i)[0]
                push(buffer[i + 4 : end].decode("utf-8", "surrogatepass"))
                i = end
            elif op == 0x72:  # LONG_BINPUT
                count = _U32(buffer, i)[0]
                local[count] = stack[-1]
                count += 1
                i += 4
            elif op == 0x94:  # MEMOIZE
                local[count] = stack[-1]
                count += 1
            elif op == 0x8C:  # SHORT_BINUNICODE
                end = i + 1 + buffer[i]
                push(buffer[i + 1 : end].decode("utf-8", "surrogatepass"))
                i = end
            elif op == 0x4B:  # BININT1
                push(buffer[i])
                i += 1
            elif op == 0x68 or op == 0x6A:  # BINGET, LONG_BINGET
                if op == 0x68:
                    number = buffer[i]
                    i += 1
                else:
                    number = _U32(buffer, i)[0]
                    i += 4
                if number in local:
                    push(local[number])
                else:
                    push(self._recall(number, self.starts[-1][0] if replay is None and self.starts else replay or 0))
            elif op == 0x71:  # BINPUT
                count = buffer[i]
                local[count] = stack[-1]
                count += 1
                i += 1
            elif op == 0x28:  # MARK
                marks.append(len(stack))
            elif op == 0x75:  # SETITEMS
                mark = marks.pop()
                target = stack[mark - 1]
                target.update(zip(stack[mark::2], stack[mark + 1 :: 2], strict=True))
                del stack[mark:]
                if len(marks) == CELLS and isinstance(stack[-2], int):
                    if replay is not None:
                        return None
                    stack[-1] = self.reduce(target)
                    self._forget(local)
                    self.starts.append((count, base + i))
                    if len(buffer) - i < WINDOW and not self.ended:
                        more = self.source.read(WINDOW)
                        self.ended = len(more) < WINDOW
                        buffer, base, i = buffer[i:] + more, base + i, 0
            elif op == 0x7D:  # EMPTY_DICT
                push({})
            elif op == 0x52:  # REDUCE
                arguments = pop()
                stack[-1] = _callable(stack[-1])(*arguments)
            elif op == 0x86:  # TUPLE2
                stack[-2:] = [tuple(stack[-2:])]
            elif op == 0x5D:  # EMPTY_LIST
                push([])
            elif op == 0x4E:  # NONE
                push(None)
            elif op == 0x4D:  # BININT2
                push(_U16(buffer, i)[0])
                i += 2
            elif op == 0x4A:  # BININT
                push(_I32(buffer, i)[0])
                i += 4
            elif op == 0x61:  # APPEND
                item = pop()
                stack[-1].append(item)
            elif op == 0x65 or op == 0x90:  # APPENDS, ADDITEMS
                mark = marks.pop()
                (stack[mark - 1].extend if op == 0x65 else stack[mark - 1].update)(stack[mark:])
                del stack[mark:]
            elif op == 0x29:  # EMPTY_TUPLE
                push(())
            elif op == 0x73:  # SETITEM
                value, key = pop(), pop()
                stack[-1][key] = value
            elif op == 0x85 or op == 0x87:  # TUPLE1, TUPLE3
                size = op - 0x84
                stack[-size:] = [tuple(stack[-size:])]
            elif op == 0x74:  # TUPLE
                mark = marks.pop()
                stack[mark:] = [tuple(stack[mark:])]
            elif op == 0x88 or op == 0x89:  # NEWTRUE, NEWFALSE
                push(op == 0x88)
            elif op == 0x8F:  # EMPTY_SET
                push(set())
            elif op == 0x43:  # SHORT_BINBYTES
                end = i + 1 + buffer[i]
                push(buffer[i + 1 : end])
                i = end
            elif op == 0x8A:  # LONG1
                end = i + 1 + buffer[i]
                push(int.from_bytes(buffer[i + 1 : end], "little", signed=True))
                i = end
            elif op == 0x63:  # GLOBAL
                middle = buffer.index(b"\n", i)
                end = buffer.index(b"\n", middle + 1)
                push(find(CONTAINERS_AND_NUMBERS, buffer[i:middle].decode(), buffer[middle + 1 : end].decode()))
                i = end + 1
            elif op == 0x93:  # STACK_GLOBAL
                name, module = pop(), pop()
                push(find(CONTAINERS_AND_NUMBERS, module, name))
            elif op == 0x62:  # BUILD
                state = pop()
                if not isinstance(stack[-1], PickledType):
                    raise InputError(f"the pickle sets the state of a {type(stack[-1]).__name__}: refused")
                stack[-1].__setstate__(state)
            elif op == 0x80:  # PROTO
                if buffer[i] > 4:
                    raise InputError(f"the pickle is of protocol {buffer[i]}; the benchmark's files are of 2 or 4")
                i += 1
            elif op == 0x95:  # FRAME
                i += 8
            elif op == 0x2E:  # STOP
                self.source.seek(base + i)
                return pop()
            else:
                raise InputError(f"not a readable pickle of results: operation {op:#04x} at byte {base + i - 1}")

    def _forget(self, local: dict[int, Any]) -> None:
        """Drop a finished cell's objects, but for imported names and all that came before and in the first cell."""
        first = not self.starts
        self.kept.update(
            (n, thing) for n, thing in local.items() if first or callable(thing) or type(thing) is PickledType
        )
        local.clear()


def _callable(thing: Any) -> Callable[..., Any]:
    if thing not in CONTAINERS_AND_NUMBERS.values():
        raise InputError(f"the pickle calls {thing!r}: refused")
    function: Callable[..., Any] = thing
    return function
