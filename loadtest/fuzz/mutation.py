"""Mutates HTTP requests as bytes: heads, numbers, framing, chunks, trailers, pipelines."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

NUMBERS = (
    b"0", b"-1", b"+1", b"1e9", b"1e400", b"NaN", b"0x10", b"00000000001", b"2147483648",
    b"9223372036854775808", b"18446744073709551616", b"9" * 400, b"0" * 4300, b"1" + b"0" * 5000,
)  # fmt: skip
"""Numbers at which parsers differ or overflow."""

BYTES = (
    b"\x00",
    b"\xff",
    b"\r",
    b"\n",
    b"\r\n\r\n",
    b"\t",
    b" ",
    b"%",
    b"\xed\xa0\x80",
    b"{",
    b"]",
)

HEADERS = (
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding : chunked",
    b"Content-Length: 5",
    b"Content-Length: 18446744073709551616",
    b"Content-Length: " + b"0" * 4300,
    b"Content-Length: -1",
    b"Content-Length: 1, 1",
    b"Content-Encoding: gzip",
    b"Content-Encoding: br",
    b"Content-Type: application/json; charset=utf-16",
    b"Content-Type: \xff",
    b"Expect: 100-continue",
    b"Connection: close",
    b"Connection: Upgrade, HTTP2-Settings",
    b"Upgrade: h2c",
    b"Upgrade: websocket",
    b"Accept: " + b"a/b;q=0.1," * 500,
    b"Accept-Encoding: gzip;q=nan",
    b"Authorization: Bearer " + b"x" * 9000,
    b"Authorization: Basic \xff\xff",
    b'If-Match: W/"1", *',
    b"Idempotency-Key: " + b"k" * 300,
    b"Inference-Header-Content-Length: 99999999999999999999",
    b"Inference-Header-Content-Length: -0",
    b"X-Routing-Key: " + b"\xc3\xa9" * 200,
    b"X-Variant: canary",
    b"X-Request-Id: " + b"%0d%0a" * 50,
    b"traceparent: 00-" + b"f" * 32 + b"-" + b"0" * 16 + b"-zz",
    b"Last-Event-ID: 99999999999999999999",
    b" folded",
    b"No-Colon",
    b": empty name",
)  # fmt: skip

METHODS = (
    b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PRI", b"get",
    b"M" * 300,
)  # fmt: skip
TARGETS = (
    b"?position=1e3", b"?position=-1", b"/../../etc/passwd", b"%00", b"/%2e%2e/", b"?a" * 4000,
    b"//", b"#x", b"%ff%fe", b";v=1",
)  # fmt: skip
VERSIONS = (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"HTTP/1.1 ", b"HTTP/9.9", b"")

Mutator = Callable[[random.Random, bytes], bytes]


def mutate(source: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One input: a seed with up to four mutations, sometimes in a pipeline with others."""
    data = source.choice(seeds)
    for _ in range(source.choice((0, 1, 1, 1, 2, 2, 3, 4))):
        data = source.choice(MUTATORS)(source, data)
    if source.random() < 0.15:
        others = [source.choice(seeds) for _ in range(source.randint(1, 6))]
        others.insert(source.randrange(len(others) + 1), data)
        data = b"".join(others)
    return data


def flip_bits(source: random.Random, data: bytes) -> bytes:
    changed = bytearray(data)
    for _ in range(source.randint(1, 8)):
        if changed:
            changed[source.randrange(len(changed))] ^= 1 << source.randrange(8)
    return bytes(changed)


def delete_slice(source: random.Random, data: bytes) -> bytes:
    begin, end = _slice(source, data)
    return data[:begin] + data[end:]


def repeat_slice(source: random.Random, data: bytes) -> bytes:
    begin, end = _slice(source, data)
    return data[:end] + data[begin:end] * source.choice((1, 2, 30)) + data[end:]


def insert_bytes(source: random.Random, data: bytes) -> bytes:
    at = source.randint(0, len(data))
    return data[:at] + source.choice(BYTES) * source.choice((1, 1, 3, 400)) + data[at:]


def truncate(source: random.Random, data: bytes) -> bytes:
    return data[: source.randint(0, len(data))]


def replace_number(source: random.Random, data: bytes) -> bytes:
    """Replace a run of digits with one of `NUMBERS`."""
    starts = [
        i for i in range(len(data)) if data[i : i + 1].isdigit() and not data[i - 1 : i].isdigit()
    ]
    if not starts:
        return data
    begin = source.choice(starts)
    end = begin
    while data[end : end + 1].isdigit():
        end += 1
    return data[:begin] + source.choice(NUMBERS) + data[end:]


def add_header(source: random.Random, data: bytes) -> bytes:
    """Add one of `HEADERS` after a random line of the head."""
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    lines.insert(source.randint(1, len(lines)), source.choice(HEADERS))
    return b"\r\n".join(lines) + separator + body


def repeat_header(source: random.Random, data: bytes) -> bytes:
    """Repeat, drop or move a line of the head."""
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    line = source.choice(lines)
    if source.random() < 0.5:
        lines.remove(line)
    at = source.randint(0, len(lines))
    lines[at:at] = [line] * source.choice((0, 1, 2, 120))
    return b"\r\n".join(lines) + separator + body


def chunk_body(source: random.Random, data: bytes) -> bytes:
    """Send the body in chunks, with extensions, odd sizes and trailers."""
    head, _, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
    lines.append(b"Transfer-Encoding: chunked")
    parts = [b"\r\n".join(lines) + b"\r\n\r\n"]
    rest = body
    while rest and len(parts) < 200:
        size = source.randint(1, max(1, len(rest)))
        stated = source.choice((b"%x", b"%X", b"0%x", b"%x;a=b", b"%x ", b"+%x")) % size
        parts.append(stated + b"\r\n" + rest[:size] + source.choice((b"\r\n",) * 9 + (b"\n",)))
        rest = rest[size:]
    parts.append(b"0\r\n")
    parts += [b"X-Trailer: 1\r\n"] * source.choice((0, 0, 1, 150))
    parts += [source.choice(HEADERS) + b"\r\n"] * source.choice((0, 0, 1))
    parts.append(source.choice((b"\r\n", b"\r\n", b"\r\n", b"", b"\n")))
    return b"".join(parts)


def change_line(source: random.Random, data: bytes) -> bytes:
    """Change the method, the target or the version."""
    line, separator, rest = data.partition(b"\r\n")
    method, target, version = [*line.split(b" "), b"/", b"HTTP/1.1"][:3]
    kind = source.randrange(3)
    if kind == 0:
        method = source.choice(METHODS)
    elif kind == 1:
        target += source.choice(TARGETS)
    else:
        version = source.choice(VERSIONS)
    return b" ".join((method, target, version)) + separator + rest


def end_lines_in_lf(_source: random.Random, data: bytes) -> bytes:
    head, separator, body = data.partition(b"\r\n\r\n")
    return head.replace(b"\r\n", b"\n") + (b"\n\n" if separator else b"") + body


MUTATORS: tuple[Mutator, ...] = (
    flip_bits, delete_slice, repeat_slice, insert_bytes, truncate, replace_number, replace_number,
    add_header, add_header, repeat_header, chunk_body, chunk_body, change_line, end_lines_in_lf,
)  # fmt: skip


def _slice(source: random.Random, data: bytes) -> tuple[int, int]:
    begin = source.randint(0, len(data))
    return begin, min(len(data), begin + source.choice((1, 4, 64, 4096)))
