"""Frames on the stream between a worker and the engine process. No I/O.

A frame is little-endian: its size without this field as uint32, its kind and its flags as uint8,
two zero bytes, its number as uint64, and its body. The size is filled up to a multiple of 8, so
that float32 in a body stays aligned. Many frames travel in one write and arrive in one read.
"""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

HEAD = Struct("<IBBHQ")
_SIZE_BYTES = 4

MAX_FRAME_BYTES = 64 * 1024 * 1024
"""Size of the largest frame, so that garbage does not look like the head of an endless one."""


class FrameKind(IntEnum):
    """What a frame carries. The first group goes to the engine process, the second to a worker."""

    APPEND = 1
    PREDICT = 2
    ADMIT = 3
    CANCEL = 4
    REFUSED = 5
    STEPS = 6

    RESULT = 16
    FAILURE = 17
    ADMITTED = 18
    RELEASE = 19
    STATE = 20
    OUTCOMES = 21


_KINDS = {int(kind): kind for kind in FrameKind}


class FrameError(Exception):
    """The bytes are no frames. The stream is unusable: nobody knows where the next one begins."""


class Frame(NamedTuple):
    """One frame. `number` names the call that it belongs to; `body` may be padded at its end."""

    kind: FrameKind
    flags: int
    number: int
    body: memoryview


def encode(kind: FrameKind, number: int = 0, flags: int = 0, *parts: bytes | memoryview) -> bytes:
    """Return a frame whose body is `parts`. Raises `FrameError` if it is too large."""
    size = HEAD.size - _SIZE_BYTES + sum(map(len, parts))
    padding = -(size + _SIZE_BYTES) % 8
    size += padding
    if size > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {size} bytes is larger than {MAX_FRAME_BYTES}")
    return b"".join((HEAD.pack(size, kind, flags, 0, number), *parts, bytes(padding)))


class FrameDecoder:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._rest = b""
        self._missing = 0

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete. At the end of the stream, it was cut short."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[Frame]:
        """Return the frames that `data` completes. Their bodies are views of it.

        Raises `FrameError`; nothing can be read after that.
        """
        if self._rest:
            data = self._rest + data
            if len(data) < self._missing:
                self._rest = data
                return []
            self._rest = b""
        frames: list[Frame] = []
        view, begin, end = memoryview(data), 0, len(data)
        while end - begin >= HEAD.size:
            size, code, flags, zero, number = HEAD.unpack_from(data, begin)
            kind = _KINDS.get(code)
            if kind is None or zero or size > MAX_FRAME_BYTES or size < HEAD.size - _SIZE_BYTES:
                raise FrameError(f"no frame has kind {code} and size {size}")
            after = begin + _SIZE_BYTES + size
            if after > end:
                self._missing = after - begin
                break
            frames.append(Frame(kind, flags, number, view[begin + HEAD.size : after]))
            begin = after
        else:
            self._missing = HEAD.size
        self._rest = data[begin:]
        return frames
