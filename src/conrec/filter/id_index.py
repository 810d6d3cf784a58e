"""Ids to rows: an exact index that is memory-mapped, for ten million users as for one request's candidates.

Three arrays in a folder: `blob.npy` (the ids' UTF-8 bytes one after another), `offsets.npy` (where each begins), and
`slots.npy`, an open-addressing hash table (Knuth, The Art of Computer Programming, vol. 3, section 6.4: linear
probing). A slot holds a row and its id, so that a look-up costs one look at the memory, or one page of a disk. Of an id
of more than `SHORT` bytes it holds the beginning and a hash; its bytes are then compared in the blob, so an unknown id
is never taken for a known one. Opening reads nothing, and processes share the pages that they look at, unless the index
is copied into memory. A dict would wait for memory 500 times, one after the other; here all loads go on together.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from conrec.compiled import compiled, prefetch, word_at
from conrec.data.schema import MAX_ID_BYTES
from conrec.errors import ConrecError
from conrec.filter.npy import NpyWriter, map_npy, resident

SHORT = 23
"""Bytes of an id that fit into a slot: three words of 8, less one byte for the length. The fourth word is the row."""
_BEHIND = bytes(9)
"""Behind joined ids: the last one's zero byte, and 8 more, so that words of 8 bytes can be read of each."""
_FULL = 0.67
_ONES, _HIGHEST = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
_FIRST, _PRIME = np.uint64(0xCBF29CE484222325), np.uint64(0x9E3779B97F4A7C15)


class IdIndex:
    """The index in a folder, memory-mapped and read-only."""

    def __init__(self, folder: Path, in_memory: bool = False) -> None:
        """`in_memory`: copied (`npy.resident`), for an index of which every request reads hundreds of places.

        ConrecError where a file is missing, cut short or not what it should be.
        """
        self._blob = map_npy(folder / "blob.npy", np.uint8, 1, not in_memory)
        self._offsets = map_npy(folder / "offsets.npy", np.int64, 1, not in_memory)
        self._slots = map_npy(folder / "slots.npy", np.uint64, 2, not in_memory)
        slots, width = self._slots.shape
        fits = len(self._offsets) and self._offsets[-1] == len(self._blob) and width == 4
        if not fits or slots & (slots - 1) or slots <= len(self):
            raise ConrecError(f"{folder}: the id index does not fit together; write it again")
        if in_memory:
            self._blob, self._offsets, self._slots = map(resident, (self._blob, self._offsets, self._slots))
        # For single ids: numbers out of an array cost twice as much.
        self._bytes, self._bounds = self._blob.data, self._offsets.data

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def rows(self, ids: Sequence[str]) -> np.ndarray:
        """int64 [len(ids)]: the row of each id, -1 for one that is not there."""
        rows, bounds = np.empty(len(ids), np.int64), np.empty(len(ids) + 1, np.int64)
        table = self._blob, self._offsets, self._slots
        # Joined by a zero byte, which takes half the time of `utf8`; that is for ids with such a byte in them, or with
        # something that is no text.
        try:
            joined = "\0".join(ids).encode() + _BEHIND
            if ids and _find(*table, np.frombuffer(joined, np.uint8), bounds, 1, rows) >= 0:
                return rows
        except (TypeError, UnicodeEncodeError):
            pass
        _find(*table, *utf8(ids), 0, rows)
        return rows

    def row(self, id: str) -> int:
        """The row of one id, or -1."""
        return int(self.rows([id])[0])

    def id(self, row: int) -> str:
        return str(self._bytes[self._bounds[row] : self._bounds[row + 1]], "utf-8")


class IdIndexWriter:
    """Writes an index into a folder, ids in any number of portions; row n is the n-th id that was added."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._blob = NpyWriter(folder / "blob.npy", np.dtype(np.uint8))
        self._offsets = NpyWriter(folder / "offsets.npy", np.dtype(np.int64))
        self._offsets.append(np.zeros(1, np.int64))

    def add(self, ids: Sequence[str]) -> None:
        """ConrecError for an id that is empty or too long."""
        blob, offsets = checked_utf8(ids)
        self._offsets.append(self._blob.length + offsets[1:])
        self._blob.append(blob)

    def finish(self) -> None:
        """Build the table. ConrecError for an id that was added twice."""
        self._blob.close()
        self._offsets.close()
        blob = map_npy(self._folder / "blob.npy", np.uint8, 1)
        offsets = map_npy(self._folder / "offsets.npy", np.int64, 1)
        slots = np.zeros((1 << max(1, int(np.ceil(np.log2(max(len(offsets), 2) / _FULL)))), 4), np.uint64)
        twice = _fill(blob, offsets, slots)
        if twice >= 0:
            name = blob[offsets[twice] : offsets[twice + 1]].tobytes().decode()
            raise ConrecError(f"id {name[:40]!r} occurs twice; give each once")
        np.save(self._folder / "slots.npy", slots)


def checked_utf8(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """`utf8` of ids that are to be stored; ConrecError for one that is empty or longer than `MAX_ID_BYTES`."""
    blob, offsets = utf8(ids)
    lengths = np.diff(offsets)
    for bad in np.flatnonzero((lengths == 0) | (lengths > MAX_ID_BYTES))[:1]:
        raise ConrecError(f"id {ids[bad][:40]!r}: {lengths[bad]} bytes; an id has 1 to {MAX_ID_BYTES}")
    return blob, offsets


def utf8(ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Bytes of all ids, uint8 [total], and where each begins and ends, int64 [len(ids) + 1].

    TypeError for what is not a string.
    """
    parts = [key_of(id) for id in ids]
    bounds = np.zeros(len(ids) + 1, np.int64)
    np.cumsum([len(part) for part in parts], out=bounds[1:])
    return np.frombuffer(b"".join(parts), np.uint8), bounds


def key_of(id: str) -> bytes:
    """The UTF-8 bytes of one id; TypeError for what is not a string.

    A lone surrogate (out of a JSON escape) gets bytes that no valid text has: it is found nowhere, and is no error.
    """
    if not isinstance(id, str):
        raise TypeError(f"an id is a string, not {type(id).__name__}")
    return id.encode("utf-8", "surrogatepass")


@compiled()
def among(rows, some):
    """bool [len(rows)]: which of the rows (int64) are among a few others (int32); np.isin takes ten times as long."""
    found, marks = np.zeros(len(rows), np.bool_), np.zeros(1024, np.bool_)
    for one in some:
        marks[one & 1023] = True
    for n in range(len(rows)):
        if marks[rows[n] & 1023]:
            for one in some:
                found[n] |= rows[n] == one
    return found


@compiled()
def equal(blob, start, other, other_start, length):
    """Whether two arrays hold the same bytes, each from its start on."""
    for k in range(length):  # noqa: SIM110
        if blob[start + k] != other[other_start + k]:
            return False
    return True


@compiled()
def _key(data, start, stop, gap, words, row):
    """Of the id that begins at `start` and ends before `stop` or, with a gap, before a zero byte: its end, and its
    hash, uint64, whose low bits choose the slot. `words[row]`, zero before, gets what a slot holds of it. With a gap, 8
    bytes of `data` follow `stop`."""
    h, at, n, length = _FIRST, 0, start, 8
    while length == 8:
        word, length = np.uint64(0), min(8, stop - n)
        if n + 8 <= len(data):
            word = word_at(data, n)
            # The highest bit of each byte that is zero; right only up to the first of them.
            ends = (word - _ONES) & ~word & _HIGHEST if gap else np.uint64(0)
            if ends != 0:
                before = ((ends & (~ends + np.uint64(1))) - np.uint64(1)) >> np.uint64(7)
                length = min(length, np.int64(((before & _ONES) * _ONES) >> np.uint64(56)))
            if length < 8:
                word &= (np.uint64(1) << np.uint64(8 * length)) - np.uint64(1)
        else:
            for k in range(length):
                word |= np.uint64(data[n + k]) << np.uint64(8 * k)
        if at < 3:
            words[row, at] = word
        h = (h ^ word) * _PRIME
        h ^= h >> np.uint64(32)
        n, at = n + length, at + 1
    if n - start <= SHORT:
        words[row, 2] |= np.uint64(n - start) << np.uint64(56)
    else:
        words[row, 2] = h | np.uint64(0xFF << 56)
    return n, h


@compiled()
def _fill(blob, offsets, slots):
    """Enter all ids; the row of an id that is there already, or -1."""
    mask, words = np.uint64(len(slots) - 1), np.zeros((1, 3), np.uint64)
    for row in range(len(offsets) - 1):
        start, stop = offsets[row], offsets[row + 1]
        words[:] = 0
        at = _key(blob, start, stop, 0, words, 0)[1] & mask
        while slots[at, 3] != 0:
            same = (slots[at, :3] == words[0]).all()
            if same and (stop - start <= SHORT or _is(slots[at, 3], blob, offsets, blob, start, stop)):
                return row
            at = (at + np.uint64(1)) & mask
        slots[at, :3], slots[at, 3] = words[0], row + 1
    return -1


@compiled()
def _is(row, blob, offsets, keys, start, stop):
    """Whether a row, counted from 1, has the id `keys[start:stop]`."""
    if row >= len(offsets) or offsets[row] - offsets[row - np.uint64(1)] != stop - start:
        return False
    begin = offsets[row - np.uint64(1)]
    return 0 <= begin <= len(blob) - (stop - start) and equal(keys, start, blob, begin, stop - start)


@compiled()
def _find(blob, offsets, slots, keys, bounds, gap, rows):
    """Row of each key, or -1. Whatever the files hold (a disk may err), nothing outside of them is read.

    Key n is `keys[bounds[n] : bounds[n + 1] - gap]`. With a gap of 1, which is a zero byte, `bounds` is filled in, and
    what is returned is below 0 where there are not as many keys as rows.
    """
    mask, count, ids = np.uint64(len(slots) - 1), len(rows), np.uint64(len(offsets) - 1)
    words, hashes = np.zeros((count, 3), np.uint64), np.empty(count, np.uint64)
    bounds[0] = 0
    for n in range(count):
        stop = len(keys) - 8 if gap else bounds[n + 1]
        end, hashes[n] = _key(keys, bounds[n], stop, gap, words, n)
        bounds[n + 1] = end + gap
        prefetch(slots, np.int64(hashes[n] & mask) * slots.strides[0])
    if gap and bounds[count] != len(keys) - 8:
        return -1
    for n in range(count):
        rows[n], at, start, stop = -1, hashes[n] & mask, bounds[n], bounds[n + 1] - gap
        for _ in range(len(slots)):
            row = slots[at, 3]
            if row == 0:
                break
            same = slots[at, 0] == words[n, 0] and slots[at, 1] == words[n, 1] and slots[at, 2] == words[n, 2]
            if same and row <= ids and (stop - start <= SHORT or _is(row, blob, offsets, keys, start, stop)):
                rows[n] = np.int64(row) - 1
                break
            at = (at + np.uint64(1)) & mask
    return 0
