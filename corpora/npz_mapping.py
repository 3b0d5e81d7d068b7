"""Maps the arrays of an uncompressed `.npz` archive into memory, which NumPy does not do."""

from __future__ import annotations

import os
import struct
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray


def map_member(path: Path, archive: zipfile.ZipFile, name: str) -> NDArray[Any] | None:
    """Map the array `name` of an `.npz` archive; None if it is compressed."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with path.open("rb") as file:
        offset = _data_offset(file, info)
        file.seek(offset)
        version = np.lib.format.read_magic(file)
        read_header = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, fortran, dtype = read_header(file)
        begin = file.tell()
    size = begin - offset + dtype.itemsize * int(np.prod(shape))
    if dtype.hasobject or fortran or size > info.file_size:
        raise ValueError(f"the array {name} is damaged")
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, mode="r", offset=begin, shape=shape)


def _data_offset(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """Where the member's data begins: after its local header, name and extra field."""
    file.seek(info.header_offset)
    header = file.read(30)
    if len(header) < 30 or header[:4] != b"PK\x03\x04":
        raise zipfile.BadZipFile("a member has no local header")
    name_length, extra_length = struct.unpack("<26x2H", header)
    offset: int = info.header_offset + 30 + name_length + extra_length
    if offset + info.compress_size > os.fstat(file.fileno()).st_size:
        raise zipfile.BadZipFile("a member is cut off")
    return offset
