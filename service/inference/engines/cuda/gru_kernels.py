"""Runs the kernels with one version's weights: vectors in, predictions and states out."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float, c_int, c_void_p

import numpy as np
from numpy.typing import NDArray

from service.inference.engines.cuda.compiler import compile_kernel
from service.inference.engines.cuda.driver import (
    Buffer,
    CudaDevice,
    CudaError,
    Kernel,
    PinnedArray,
)
from service.inference.engines.cuda.graph_weights import (
    GruWeights,
    HeadWeights,
    UnsupportedGraphError,
)
from service.inference.engines.cuda.launch_plan import (
    UNITS_PER_BLOCK,
    layers_per_launch,
    slices,
)
from service.inference.engines.cuda.stream import Stream
from service.manifest import Dimensions

Float32 = NDArray[np.float32]

UNSET = 0xFFFFFFFF
"""A NaN bit pattern that marks a value as not yet written."""

_THREADS = 256
_WAVE = [*[c_void_p] * 8, c_int, c_int, c_float, c_void_p]
_HEAD = [*[c_void_p] * 13, c_int, c_float, c_void_p]


class GruKernels:
    """Holds a version's weights on a device; compiles and launches its kernels.

    Raises `UnsupportedGraphError` if the device is too small for the kernels, and
    `CudaError` if the driver fails.
    """

    def __init__(
        self, device: CudaDevice, sizes: Dimensions, gru: GruWeights, head: HeadWeights
    ) -> None:
        self.device = device
        self.sizes = sizes
        self.slots, self.expanded = head.slots, head.expanded
        self._together = layers_per_launch(sizes.layers, sizes.hidden, device.multiprocessors)
        if not (self._together and device.cooperative):
            raise UnsupportedGraphError(
                f"the kernels need {sizes.hidden // UNITS_PER_BLOCK} multiprocessors and "
                f"cooperative launches; the device has {device.multiprocessors}"
            )
        self.widths = tuple(n for n in (4, 2, 1) if _shared_bytes(sizes, n) <= device.shared_bytes)
        if not self.widths:
            raise UnsupportedGraphError(
                f"the kernels need {_shared_bytes(sizes, 1)} bytes of shared memory; the device "
                f"has {device.shared_bytes}"
            )
        self._gru = [Buffer.of(a) for a in (gru.w0, gru.w, gru.u, gru.bi, gru.bh)]
        self._head = [
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
        self._epsilons = gru.epsilon, head.epsilon

    def compile_wave(self, width: int, *, carried: bool) -> Kernel:
        """Compile the recurrent layers for `width` rows side by side, and set their weights.

        `carried`: each row carries its state from vector to vector (a context). Otherwise
        every group of rows starts from a state of its own (steps).
        """
        sizes = self.sizes
        definitions = [
            f"DIM={sizes.dim}",
            f"HIDDEN={sizes.hidden}",
            f"NB={width}",
            f"CARRIED={int(carried)}",
        ]
        code = compile_kernel("gru_wave", self.device.architecture, definitions)
        kernel = Kernel(code, "gru_wave", _WAVE, _THREADS, _shared_bytes(sizes, width))
        kernel.arguments.set_many(0, [buffer.address for buffer in self._gru])
        kernel.arguments.set(10, self._epsilons[0])
        return kernel

    def compile_head(self, width: int) -> Kernel:
        """Compile the head for `width` rows at a time, and set its weights."""
        definitions = [
            f"DIM={self.sizes.dim}",
            f"HIDDEN={self.sizes.hidden}",
            f"NB={width}",
            f"SLOTS={self.slots}",
            f"EXPANDED={self.expanded}",
        ]
        shared = 4 * width * max(self.slots, self.expanded, self.sizes.hidden)
        code = compile_kernel("gru_head", self.device.architecture, definitions)
        kernel = Kernel(code, "gru_head", _HEAD, _THREADS, shared)
        kernel.arguments.set_many(0, [buffer.address for buffer in self._head])
        kernel.arguments.set(14, self._epsilons[1])
        return kernel

    def launch_wave(self, stream: Stream, wave: Kernel, time: int) -> None:
        """Run all layers over `time` vectors of a context, or over `time` groups of steps."""
        wave.arguments.set(8, time)
        blocks = self.sizes.hidden // UNITS_PER_BLOCK
        for first in range(0, self.sizes.layers, self._together):
            wave.arguments.set(9, first)
            stream.launch(wave, (blocks, self._together))

    def launch_head(self, stream: Stream, head: Kernel, rows: int, hidden: int, last: int) -> None:
        """Run the head over `rows` rows: states at `hidden`, last vectors at `last`."""
        head.arguments.set_many(7, [hidden, last])
        head.arguments.set(13, rows)
        stream.launch(head, (self.device.multiprocessors, 1))


class _HeadOutput:
    """The head's scratch memory and output, for up to `rows` rows."""

    def __init__(self, kernels: GruKernels, rows: int, wave: Kernel, head: Kernel) -> None:
        sizes = kernels.sizes
        self._rows, self._dim = rows, sizes.dim
        widths = (sizes.dim + kernels.slots + sizes.hidden, sizes.hidden, kernels.expanded)
        self._scratch = [Buffer(4 * rows * width) for width in widths]
        # Two integers follow the predicted rows: `failed` and `arrived`, the count of blocks.
        self._device = Buffer(4 * (rows * sizes.dim + 2))
        self._host = PinnedArray((rows * sizes.dim + 2,))
        self._failed = self._device.address + 4 * rows * sizes.dim
        addresses = [buffer.address for buffer in (*self._scratch, self._device)]
        head.arguments.set_many(9, addresses)
        head.arguments.set(15, self._failed + 4)
        wave.arguments.set(11, self._failed)

    def clear(self, stream: Stream) -> None:
        """Set `failed` and `arrived` to 0. Call it before each launch."""
        stream.fill(self._failed, 0, 2)

    def fetch(self, stream: Stream) -> Float32:
        """Wait for the stream and return last vector + step, `[rows, dim]`.

        The next run overwrites the returned array. Raises `CudaError`.
        """
        stream.to_host(self._host.address, self._device.address, self._device.size)
        stream.synchronise()
        if self._host.array.view(np.int32)[-2]:
            raise CudaError("a block of the kernel timed out waiting for another block")
        return self._host.array[:-2].reshape(self._rows, self._dim)


class StepLauncher:
    """Runs one step of up to `most` rows, each from its own state. Not thread-safe."""

    def __init__(self, kernels: GruKernels, width: int, most: int) -> None:
        sizes = kernels.sizes
        self.most = -(-most // width) * width
        self._width = width
        self._kernels = kernels
        self._wave = kernels.compile_wave(width, carried=False)
        self._head = kernels.compile_head(width)
        self._output = _HeadOutput(kernels, self.most, self._wave, self._head)
        self._stream = Stream()
        vectors, states = self.most * sizes.dim, sizes.layers * self.most * sizes.hidden
        # States first, then vectors: one copy sends both, for any number of rows.
        self._in = PinnedArray((states + vectors,))
        self._input = Buffer(self._in.array.nbytes)
        self._out = PinnedArray((states,))
        self._seq = Buffer(4 * states)
        self._wave.arguments.set_many(5, [self._input.address, 0, self._seq.address])

    def run(self, vectors: Float32, state: Float32) -> tuple[Float32, Float32]:
        """`vectors` `[rows, dim]`, `state` `[layers, rows, hidden]`.

        Returns last vector + step, not normalised, `[rows, dim]`, and the next states.
        Raises `CudaError`.
        """
        sizes, stream, kernels = self._kernels.sizes, self._stream, self._kernels
        rows = len(vectors)
        groups = -(-rows // self._width)
        padded = groups * self._width
        states = sizes.layers * padded * sizes.hidden
        values = self._in.array
        values[:states].reshape(sizes.layers, padded, sizes.hidden)[:, :rows] = state
        values[states : states + vectors.size].reshape(vectors.shape)[:] = vectors
        # Padding rows hold values of earlier runs. No row reads another row.
        stream.to_device(self._input.address, self._in.address, 4 * (states + padded * sizes.dim))
        x = self._input.address + 4 * states
        self._wave.arguments.set(6, x)
        stream.fill(self._seq.address, UNSET, states)
        self._output.clear(stream)
        kernels.launch_wave(stream, self._wave, groups)
        last_layer = self._seq.address + 4 * (sizes.layers - 1) * padded * sizes.hidden
        kernels.launch_head(stream, self._head, padded, last_layer, x)
        stream.to_host(self._out.address, self._seq.address, 4 * states)
        predicted = self._output.fetch(stream)
        after = self._out.array[:states].reshape(sizes.layers, padded, sizes.hidden)
        return predicted[:rows].copy(), after[:, :rows].copy()


class ContextLauncher:
    """Runs `width` whole contexts side by side. Not thread-safe."""

    def __init__(self, kernels: GruKernels, width: int) -> None:
        sizes = kernels.sizes
        self._width = width
        self._kernels = kernels
        self._wave = kernels.compile_wave(width, carried=True)
        self._head = kernels.compile_head(width)
        self._output = _HeadOutput(kernels, width, self._wave, self._head)
        self._compute, self._copies = Stream(), Stream()
        shape = (sizes.layers, width, sizes.hidden)
        self._before, self._after = PinnedArray(shape), PinnedArray(shape)
        self._h0 = Buffer(self._before.array.nbytes)
        self._hidden = Buffer(4 * width * sizes.hidden)
        self._last = Buffer(4 * width * sizes.dim)
        self._time = 0
        self._wave.arguments.set(5, self._h0.address)

    def run(
        self, vectors: Float32, lengths: Sequence[int], state: Float32
    ) -> tuple[Float32, Float32]:
        """`vectors` `[time, width, dim]`, `lengths` `[width]`, `state` `[layers, width, hidden]`.

        Returns last vector + step, not normalised, `[width, dim]`, and the states at each
        row's end. Raises `CudaError`.
        """
        sizes, width, compute = self._kernels.sizes, self._width, self._compute
        time = len(vectors)
        if time > self._time:
            self._grow(time)
        np.copyto(self._before.array, state)
        compute.to_device(self._h0.address, self._before.address, self._h0.size)
        compute.fill(self._x.address, UNSET, time * width * sizes.dim)
        compute.fill(self._seq.address, UNSET, sizes.layers * time * width * sizes.hidden)
        self._output.clear(compute)
        self._copies.wait_for(compute)
        self._kernels.launch_wave(compute, self._wave, time)
        # The kernel is already running and reads each vector as it arrives.
        row = width * sizes.dim
        for part in slices(time):
            np.copyto(self._vectors.array[part], vectors[part])
            begin, size = 4 * part.start * row, 4 * (part.stop - part.start) * row
            self._copies.to_device(self._x.address + begin, self._vectors.address + begin, size)
        self._copy_ends(time, lengths)
        self._kernels.launch_head(
            compute, self._head, width, self._hidden.address, self._last.address
        )
        return self._output.fetch(compute).copy(), self._after.array.copy()

    def _grow(self, time: int) -> None:
        """Allocate buffers for `time` vectors, rounded up to a power of two."""
        sizes, width = self._kernels.sizes, self._width
        self._time = 1 << (time - 1).bit_length()
        self._vectors = PinnedArray((self._time, width, sizes.dim))
        self._x = Buffer(self._vectors.array.nbytes)
        self._seq = Buffer(4 * sizes.layers * self._time * width * sizes.hidden)
        self._wave.arguments.set_many(6, [self._x.address, self._seq.address])

    def _copy_ends(self, time: int, lengths: Sequence[int]) -> None:
        """Copy the states at each row's end to the host, and the head's inputs to its buffers."""
        sizes, width, compute = self._kernels.sizes, self._width, self._compute
        state, vector = 4 * sizes.hidden, 4 * sizes.dim
        for row, length in enumerate(lengths):
            for layer in range(sizes.layers):
                end = self._seq.address + ((layer * time + length - 1) * width + row) * state
                compute.to_host(self._after.address + (layer * width + row) * state, end, state)
            compute.copy(self._hidden.address + row * state, end, state)
            last = self._x.address + ((length - 1) * width + row) * vector
            compute.copy(self._last.address + row * vector, last, vector)


def _shared_bytes(sizes: Dimensions, width: int) -> int:
    """Shared memory of a block in bytes.

    Two buffers of states and inputs, the weights of layer 0 for inputs beyond `hidden`, and
    8 constants per unit.
    """
    return 4 * (
        2 * width * (sizes.hidden + sizes.dim)
        + UNITS_PER_BLOCK * 3 * (sizes.dim - sizes.hidden)
        + UNITS_PER_BLOCK * 8
    )
