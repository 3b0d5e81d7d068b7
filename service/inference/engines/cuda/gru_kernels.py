"""The kernels with a version's weights on the device: rows in, predicted vectors and states out."""

from __future__ import annotations

from ctypes import c_float, c_int, c_void_p

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.cuda.compiler import compile_kernel
from service.inference.engines.cuda.driver import (
    Buffer,
    CudaError,
    Device,
    Kernel,
    PinnedArray,
    Stream,
)
from service.inference.engines.cuda.graph_weights import (
    GruWeights,
    HeadWeights,
    UnsupportedGraphError,
)
from service.inference.engines.cuda.launch_plan import UNITS_PER_BLOCK, layers_together, slices
from service.manifest import Dimensions

Float32 = NDArray[np.float32]

UNSET = 0xFFFFFFFF
"""The NaN that marks what has not been written yet."""

_THREADS = 256
_WARPS = _THREADS // 32
_POINTER, _INT, _FLOAT = c_void_p, c_int, c_float


class GruKernels:
    """Runs up to `widths[0]` contexts at once. One thread at a time.

    Raises `UnsupportedGraphError` where the device is too small for the kernel, and
    `CudaError`.
    """

    def __init__(
        self, device: Device, sizes: Dimensions, gru: GruWeights, head: HeadWeights
    ) -> None:
        self._device = device
        self._sizes = sizes
        self._head_sizes = (head.slots, head.wide)
        self._together = layers_together(sizes.layers, sizes.hidden, device.multiprocessors)
        if not (self._together and device.cooperative):
            raise UnsupportedGraphError(
                f"the kernel needs {sizes.hidden // UNITS_PER_BLOCK} multiprocessors and "
                f"cooperative launches; the device has {device.multiprocessors}"
            )
        self._weights = [Buffer.of(a) for a in (gru.w0, gru.w, gru.u, gru.bi, gru.bh)]
        self._head_weights = [
            Buffer.of(a)
            for a in (
                head.first,
                head.first_bias,
                head.content,
                head.expand,
                head.expand_bias,
                head.output,
                head.output_bias,
            )
        ]
        self._epsilons = (gru.epsilon, head.epsilon)
        self.widths = tuple(n for n in (4, 2, 1) if _wave_shared(sizes, n) <= device.shared_bytes)
        if not self.widths:
            raise UnsupportedGraphError(
                f"the kernel needs {_wave_shared(sizes, 1)} bytes of shared memory; the device "
                f"has {device.shared_bytes}"
            )
        self._launches = {n: _Launch(self, n) for n in self.widths}

    def run(
        self, vectors: Float32, lengths: NDArray[np.int32], state: Float32
    ) -> tuple[Float32, Float32]:
        """Run a group of rows; their number is one of `widths`.

        `vectors` `[time, rows, dim]`, `lengths` `[rows]`, `state` `[layers, rows, hidden]`.
        Returns last vector + step, not normalised, `[rows, dim]`, and the states after each
        row's end, like `state`. Raises `CudaError`.
        """
        self._device.bind()
        return self._launches[len(lengths)].run(vectors, lengths, state)


class _Launch:
    """Both kernels for one number of rows, with the buffers they use."""

    def __init__(self, kernels: GruKernels, rows: int) -> None:
        sizes, device = kernels._sizes, kernels._device  # noqa: SLF001  a part of it
        self._rows = rows
        self._sizes = sizes
        self._together = kernels._together  # noqa: SLF001  as above
        slots, wide = kernels._head_sizes  # noqa: SLF001  as above
        first = sizes.dim + slots + sizes.hidden
        common = [f"DIM={sizes.dim}", f"HIDDEN={sizes.hidden}", f"NB={rows}"]
        self._wave = Kernel(
            compile_kernel("gru_wave", device.architecture, common),
            "gru_wave",
            [*[_POINTER] * 8, _INT, _INT, _FLOAT, _POINTER],
            _THREADS,
            _wave_shared(sizes, rows),
        )
        self._head = Kernel(
            compile_kernel(
                "gru_head", device.architecture, [*common, f"SLOTS={slots}", f"WIDE={wide}"]
            ),
            "gru_head",
            [*[_POINTER] * 13, _FLOAT, _POINTER],
            _THREADS,
            4 * rows * max(slots, wide, sizes.hidden),
        )
        self._head_blocks = device.multiprocessors
        self._compute, self._copies = Stream(), Stream()
        state_shape = (sizes.layers, rows, sizes.hidden)
        self._state_in, self._state_out = PinnedArray(state_shape), PinnedArray(state_shape)
        # The predicted rows, then whether a wait has failed.
        self._answer = PinnedArray((rows * sizes.dim + 1,))
        self._h0 = Buffer(self._state_in.array.nbytes)
        self._hidden = Buffer(4 * rows * sizes.hidden)
        self._last = Buffer(4 * rows * sizes.dim)
        self._scratch = [Buffer(4 * rows * n) for n in (first, sizes.hidden, wide)]
        self._moved = Buffer(self._answer.array.nbytes)
        self._failed = self._moved.address + 4 * rows * sizes.dim
        self._arrived = Buffer(4)
        for position, buffer in enumerate([*kernels._weights, self._h0]):  # noqa: SLF001  as above
            self._wave.arguments.set(position, buffer.address)
        self._wave.arguments.set(10, kernels._epsilons[0])  # noqa: SLF001  as above
        self._wave.arguments.set(11, self._failed)
        for position, buffer in enumerate(kernels._head_weights):  # noqa: SLF001  as above
            self._head.arguments.set(position, buffer.address)
        for position, buffer in enumerate([*self._scratch, self._moved], start=9):
            self._head.arguments.set(position, buffer.address)
        self._head.arguments.set(13, kernels._epsilons[1])  # noqa: SLF001  as above
        self._head.arguments.set(14, self._arrived.address)
        self._time = 0
        self._grow(1)

    def run(
        self, vectors: Float32, lengths: NDArray[np.int32], state: Float32
    ) -> tuple[Float32, Float32]:
        """See `GruKernels.run`."""
        time = len(vectors)
        if time > self._time:
            self._grow(time)
        self._start(time, vectors, state)
        hidden, last = self._ends(time, lengths)
        self._head.arguments.set(7, hidden)
        self._head.arguments.set(8, last)
        compute, answer = self._compute, self._answer
        compute.launch(self._head, (self._head_blocks, 1))
        compute.to_host(answer.address, self._moved.address, answer.array.nbytes)
        compute.synchronise()
        if answer.array.view(np.int32)[-1]:
            raise CudaError("the kernel waited in vain for another of its blocks")
        moved = answer.array[:-1].reshape(self._rows, self._sizes.dim).copy()
        return moved, self._state_out.array.copy()

    def _grow(self, time: int) -> None:
        """Buffers for contexts of `time` vectors, with room to spare."""
        self._time = 1 << (time - 1).bit_length()
        sizes, rows = self._sizes, self._rows
        self._vectors = PinnedArray((self._time, rows, sizes.dim))
        self._x = Buffer(self._vectors.array.nbytes)
        self._seq = Buffer(4 * sizes.layers * self._time * rows * sizes.hidden)
        self._wave.arguments.set(6, self._x.address)
        self._wave.arguments.set(7, self._seq.address)

    def _start(self, time: int, vectors: Float32, state: Float32) -> None:
        """Launch the stack of layers, and send the vectors after it."""
        sizes, rows, compute = self._sizes, self._rows, self._compute
        np.copyto(self._state_in.array, state)
        compute.to_device(self._h0.address, self._state_in.address, self._h0.size)
        compute.fill(self._seq.address, UNSET, sizes.layers * time * rows * sizes.hidden)
        compute.fill(self._arrived.address, 0, 1)
        compute.fill(self._failed, 0, 1)
        if time == 1:
            self._send(compute, vectors, slice(0, 1))
            self._launch_layers(time)
            return
        compute.fill(self._x.address, UNSET, time * rows * sizes.dim)
        self._copies.wait_for(compute)
        self._launch_layers(time)
        for part in slices(time):
            self._send(self._copies, vectors, part)

    def _launch_layers(self, time: int) -> None:
        self._wave.arguments.set(8, time)
        blocks = self._sizes.hidden // UNITS_PER_BLOCK
        for first in range(0, self._sizes.layers, self._together):
            self._wave.arguments.set(9, first)
            self._compute.launch(self._wave, (blocks, self._together))

    def _send(self, stream: Stream, vectors: Float32, part: slice) -> None:
        np.copyto(self._vectors.array[part], vectors[part])
        begin = part.start * self._rows * self._sizes.dim * 4
        size = (part.stop - part.start) * self._rows * self._sizes.dim * 4
        stream.to_device(self._x.address + begin, self._vectors.address + begin, size)

    def _ends(self, time: int, lengths: NDArray[np.int32]) -> tuple[int, int]:
        """Bring each row's states at its end to the host.

        Returns where the last layer's states and the last vectors lie on the device.
        """
        sizes, rows, compute = self._sizes, self._rows, self._compute
        state, vector = 4 * sizes.hidden, 4 * sizes.dim
        out = self._state_out
        if time == 1:
            compute.to_host(out.address, self._seq.address, out.array.nbytes)
            return self._seq.address + (sizes.layers - 1) * rows * state, self._x.address
        for row, length in enumerate(int(n) for n in lengths):
            for layer in range(sizes.layers):
                found = self._seq.address + ((layer * time + length - 1) * rows + row) * state
                compute.to_host(out.address + (layer * rows + row) * state, found, state)
                if layer == sizes.layers - 1:
                    compute.copy(self._hidden.address + row * state, found, state)
            end = self._x.address + ((length - 1) * rows + row) * vector
            compute.copy(self._last.address + row * vector, end, vector)
        return self._hidden.address, self._last.address


def _wave_shared(sizes: Dimensions, rows: int) -> int:
    """Bytes of shared memory: states and inputs twice, and layer 0's weights beyond `hidden`."""
    return 4 * (
        2 * rows * (sizes.hidden + sizes.dim) + UNITS_PER_BLOCK * 3 * (sizes.dim - sizes.hidden)
    )
