"""A GRU pass for training: the result of `nn.GRU` in less time on a CPU.

The backward pass of `nn.GRU` computes the gradient of the recurrent weights at every step, a
product of a batch's few rows added to the whole matrix. Here the steps only record the factors,
and one product at the end computes the gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gru(module: nn.GRU, projected: Tensor, state: Tensor | None) -> tuple[Tensor, Tensor]:
    """Run `module` on its first layer's projected input, `weight_ih_l0 @ input + bias_ih_l0`.

    `projected` is `[time, batch, 3 * hidden]`. Returns the last layer's output
    `[time, batch, hidden]` and the final state `[layers, batch, hidden]`. They differ from
    `module`'s by rounding only; the same seed gives the same dropout.
    """
    batch = projected.shape[1]
    if state is None:
        state = projected.new_zeros(module.num_layers, batch, module.hidden_size)
    after: list[Tensor] = []
    for layer, before in enumerate(state):
        if layer:
            dropped = F.dropout(after[-1], module.dropout, module.training)
            projected = F.linear(dropped, *parameters(module, "ih", layer))
        weight, bias = parameters(module, "hh", layer)
        run: Callable[..., Tensor] = _GRURecurrence.apply
        after.append(run(projected, weight, bias, before))
    return after[-1], torch.stack([hidden[-1] for hidden in after])


def parameters(module: nn.GRU, kind: str, layer: int) -> tuple[Tensor, Tensor]:
    """The weight and bias of a layer for its input (`ih`) or its state (`hh`)."""
    return getattr(module, f"weight_{kind}_l{layer}"), getattr(module, f"bias_{kind}_l{layer}")


class _GRURecurrence(torch.autograd.Function):
    """The recurrence of one layer: Cho et al. 2014 in PyTorch's form, gates reset, update, new.

    r, z = σ(projected + W h + b), n = tanh(projected + r · (W h + b)), h' = (1 − z) n + z h.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, weight: Tensor, bias: Tensor, state: Tensor) -> Tensor:
        time, batch, width = projected.shape
        hidden = width // 3
        states = projected.new_empty(time + 1, batch, hidden)
        states[0] = state
        gates = torch.empty_like(projected)
        own = projected.new_empty(time, batch, hidden)  # the new gate's W h + b
        steps = zip(projected, gates, own, states[:-1], states[1:], strict=True)
        for arriving, gate, kept, before, after in steps:
            recurrent = torch.addmm(bias, before, weight.t())
            kept.copy_(recurrent[:, 2 * hidden :])
            both, new = gate[:, : 2 * hidden], gate[:, 2 * hidden :]
            torch.add(arriving[:, : 2 * hidden], recurrent[:, : 2 * hidden], out=both).sigmoid_()
            torch.addcmul(arriving[:, 2 * hidden :], gate[:, :hidden], kept, out=new).tanh_()
            torch.lerp(new, before, gate[:, hidden : 2 * hidden], out=after)
        ctx.save_for_backward(weight, states, gates, own)
        return states[1:]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        weight, states, gates, own = ctx.saved_tensors
        reset, update, new = gates.chunk(3, dim=-1)
        # Each gate's derivative with respect to its argument, for all steps at once.
        by_new = (1 - update) * (1 - new * new)
        by_update = (states[:-1] - new) * update * (1 - update)
        by_reset = own * reset * (1 - reset)
        arriving = torch.empty_like(gates)  # the gradient of the projected input
        recurrent = torch.empty_like(gates)  # the gradient of W h + b
        back = torch.zeros_like(states[0])
        hidden = back.shape[1]
        for t in range(len(gates) - 1, -1, -1):
            back = back + gradients[0][t]
            at_projected, at_own = arriving[t], recurrent[t]
            at_new = torch.mul(back, by_new[t], out=at_projected[:, 2 * hidden :])
            torch.mul(back, by_update[t], out=at_projected[:, hidden : 2 * hidden])
            torch.mul(at_new, by_reset[t], out=at_projected[:, :hidden])
            at_own[:, : 2 * hidden] = at_projected[:, : 2 * hidden]
            torch.mul(at_new, reset[t], out=at_own[:, 2 * hidden :])
            back = torch.addmm(back * update[t], at_own, weight)
        rows = recurrent.flatten(0, 1)
        return arriving, rows.t() @ states[:-1].flatten(0, 1), rows.sum(dim=0), back
