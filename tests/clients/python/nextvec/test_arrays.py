"""Whatever holds numbers becomes float32 rows."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from nextvec import arrays
from nextvec.errors import ResponseError

ROWS = [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    "value",
    [
        ROWS,
        np.array(ROWS),
        np.array(ROWS, np.float16),
        np.array(ROWS, ">f4"),
        np.array(ROWS, order="F"),
        np.array(ROWS, np.int64),
        torch.tensor(ROWS),
        torch.tensor(ROWS, dtype=torch.bfloat16),
        torch.tensor(ROWS, requires_grad=True),
    ],
    ids=lambda value: str(getattr(value, "dtype", "list")),
)
def test_arrays_tensors_and_lists_are_taken(value):
    rows = arrays.as_rows(value)
    assert ("<f4", True) == (rows.dtype.newbyteorder("<").str, rows.flags.c_contiguous)
    assert ROWS == rows.tolist()


def test_one_vector_is_one_row():
    assert (1, 3) == arrays.as_rows([1, 2, 3]).shape == arrays.as_vector(torch.ones(3)).shape


def test_the_rows_are_a_copy():
    given = np.array(ROWS, "<f4")
    rows = arrays.as_rows(given)
    given[:] = 0
    assert ROWS == rows.tolist()


@pytest.mark.parametrize(
    "value",
    [
        5,
        [],
        [[]],
        np.zeros((0, 3)),
        np.zeros((2, 0)),
        np.zeros((2, 2, 2)),
        ["a"],
        [[1], [1, 2]],
        [1j],
        [True],
        None,
        b"abcd",
        {"a": 1},
    ],
    ids=repr,
)
def test_anything_else_is_refused(value):
    with pytest.raises(ValueError, match=r"vectors"):
        arrays.as_rows(value)


def test_several_rows_are_not_one_vector():
    with pytest.raises(ValueError, match="2 rows"):
        arrays.as_vector(ROWS)


def test_an_answer_of_another_width_is_none_of_nextvec():
    assert [1.0, 2.0] == arrays.from_bytes(np.array([1, 2], "<f4").tobytes(), 2).tolist()
    with pytest.raises(ResponseError, match="8 bytes"):
        arrays.from_bytes(bytes(8), 3)
