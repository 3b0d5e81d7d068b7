"""A Memory-Augmented GRU whose weights compute a decayed mean around the text's own centre.

The strongest rule on text of unseen kinds is a decayed mean of the last vectors, less the running
centre of the text. A GRU with constant gates is a bank of leaky integrators, so the architecture
expresses the rule: the first layer integrates principal components of its input, some quickly and
the leading ones also slowly; the other layers pass the state on; the head mixes it linearly and
scales the result to one length. What is trained is the mix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from architectures import recurrence
from architectures.memory_augmented_gru import DIM, HIDDEN, LAYERS, SLOTS, MemoryAugmentedGRU

Matrix = NDArray[np.float32]

_GAIN = 0.5
"""Of the first layer's input. Small values pass through tanh nearly unchanged."""

_OFFSET = 6.0
"""Added before the first GELU, which is linear there."""

_SPREAD = 0.7
"""The typical size of a value beside `_OFFSET`."""

_LEAST_VARIANCE = 1e-6


@dataclass(frozen=True)
class FilterBank:
    """The leaky integrators of the first layer.

    A unit for each of the first `fast` principal components decays by `fast_decay` a vector; the
    `lead` first ones, which carry the topic, by `lead_decay`. The first `HIDDEN - fast` components
    have a second unit that decays by `slow_decay`: the text's running centre. `centre` `[dim]` and
    `basis` `[dim, dim]` are the mean and the principal directions of normalised training vectors;
    `variance` `[dim]` falls.
    """

    centre: Matrix
    basis: Matrix
    variance: Matrix
    fast: int = 448
    lead: int = 32
    fast_decay: float = 0.6
    lead_decay: float = 0.8
    slow_decay: float = 0.99

    @property
    def slow(self) -> int:
        return HIDDEN - self.fast

    @property
    def decay(self) -> Matrix:
        """The decay of each unit, `[HIDDEN]`."""
        decays = [self.lead_decay, self.fast_decay, self.slow_decay]
        units = [self.lead, self.fast - self.lead, self.slow]
        return np.asarray(np.repeat(decays, units), np.float32)

    @property
    def directions(self) -> Matrix:
        """What each unit integrates, `[dim, HIDDEN]`."""
        return np.concatenate([self.basis[:, : self.fast], self.basis[:, : self.slow]], axis=1)

    def states(self, vectors: Matrix, keep: int = 0) -> Matrix:
        """The units' states after each of consecutive `vectors` `[n, dim]`: `[n, HIDDEN]`.

        The first `keep` states are left out.
        """
        inputs = (normalised(vectors) - self.centre) @ self.directions
        states: Matrix = np.empty(inputs.shape, np.float32)
        decay = self.decay
        state: Matrix = np.zeros(HIDDEN, np.float32)
        for row, arriving in enumerate(inputs):
            state = np.asarray(decay * state + (1 - decay) * arriving, np.float32)
            states[row] = state
        return states[keep:]

    def initial_mix(self, share: float, whitening: float) -> Matrix:
        """The rule: the fast mean less `share` of the slow one, `[HIDDEN, dim]`.

        Each principal direction is scaled by its variance to the power `-whitening`.
        """
        relative = np.maximum(self.variance / self.variance[0], _LEAST_VARIANCE)
        weights = np.asarray(relative[: self.fast] ** -whitening, np.float32)
        mix = np.zeros((HIDDEN, DIM), np.float32)
        fast = np.arange(self.fast)
        slow = np.arange(self.slow)
        mix[fast] = weights[:, None] * self.basis.T[fast]
        mix[self.fast + slow] = -share * weights[slow, None] * self.basis.T[slow]
        return mix


def normalised(vectors: Matrix) -> Matrix:
    """`vectors` as the model's LayerNorm leaves them, at unit length."""
    unit = F.layer_norm(torch.from_numpy(vectors), [DIM]) / DIM**0.5
    out: Matrix = unit.numpy()
    return out


def fit_filter_bank(vectors: Matrix, **fields: float) -> FilterBank:
    """A filter bank on the principal directions of `vectors` `[n, dim]`."""
    rows = normalised(vectors)
    centre = rows.mean(axis=0)
    variance, basis = np.linalg.eigh(np.cov((rows - centre).T.astype(np.float64)))
    return FilterBank(
        centre,
        np.ascontiguousarray(basis[:, ::-1]).astype(np.float32),
        variance[::-1].astype(np.float32),
        **fields,  # type: ignore[arg-type]
    )


def running_centre_gru(
    bank: FilterBank, mix: Matrix, length: float, slots: Matrix
) -> MemoryAugmentedGRU:
    """The model whose step is `length * unit(states @ mix)`.

    `mix` is `[HIDDEN, dim]`, and `slots` `[SLOTS, dim]` fill the memory. The head's LayerNorm
    gives the step its constant length.
    """
    model = MemoryAugmentedGRU().eval()
    left, values, right = np.linalg.svd(mix.astype(np.float64), full_matrices=False)
    with torch.no_grad():
        for parameter in model.gru.parameters():
            parameter.zero_()
        model.memory.memory.copy_(_tensor(slots))
        _set_first_layer(model.gru, bank)
        for layer in range(1, LAYERS):
            weight = getattr(model.gru, f"weight_ih_l{layer}")
            weight[2 * HIDDEN :] = torch.eye(HIDDEN)
            # The update gate is shut: a layer passes its input on.
            getattr(model.gru, f"bias_ih_l{layer}")[HIDDEN : 2 * HIDDEN] = -20.0
        typical = _typical_size(bank, left * values)
        enter, first, second = model.fusion[0], model.output_proj[0], model.output_proj[3]
        assert isinstance(enter, nn.Linear)
        assert isinstance(first, nn.Linear)
        assert isinstance(second, nn.Linear)
        enter.weight.zero_()
        enter.weight[:, :HIDDEN] = _tensor((left * values).T * (_SPREAD / typical))
        enter.bias.fill_(_OFFSET)
        # GELU(u) - GELU(-u) = u.
        first.weight.copy_(torch.cat([torch.eye(HIDDEN), -torch.eye(HIDDEN)]))
        first.bias.zero_()
        out = _tensor(right.T * (length / HIDDEN**0.5))
        second.weight.copy_(torch.cat([out, -out], dim=1))
        second.bias.zero_()
    assert len(slots) == SLOTS
    return model


def _set_first_layer(gru: nn.GRU, bank: FilterBank) -> None:
    weight, bias = recurrence.parameters(gru, "ih", 0)
    directions = _tensor(bank.directions.T)
    weight[2 * HIDDEN :, :DIM] = _GAIN / DIM**0.5 * directions
    bias[2 * HIDDEN :] = -_GAIN * directions @ _tensor(bank.centre)
    bias[HIDDEN : 2 * HIDDEN] = torch.logit(_tensor(bank.decay))


def _typical_size(bank: FilterBank, enter: NDArray[np.float64]) -> float:
    """The root mean square of a unit before the head's LayerNorm, for independent vectors."""
    variance = np.concatenate([bank.variance[: bank.fast], bank.variance[: bank.slow]])
    decay = bank.decay
    # Neighbouring vectors are alike, which makes a mean larger than that of independent ones.
    of_state = variance * np.sqrt((1 - decay) / (1 + decay)) * _GAIN**2
    return float(np.sqrt((of_state[:, None] * enter**2).sum() / HIDDEN))


def _tensor(values: NDArray[np.floating]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
