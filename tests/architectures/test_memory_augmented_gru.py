"""The architecture defines a file format: names, shapes and the number of parameters are fixed."""

from __future__ import annotations

import torch

from architectures.memory_augmented_gru import (
    DIM,
    HIDDEN,
    LAYERS,
    PARAMETERS,
    SLOTS,
    MemoryAugmentedGRU,
)

SHAPES = {
    "input_norm.weight": (DIM,),
    "input_norm.bias": (DIM,),
    **{
        f"gru.{name}_l{layer}": shape
        for layer in range(4)
        for name, shape in {
            "weight_ih": (1536, 1536 if layer == 0 else 512),
            "weight_hh": (1536, 512),
            "bias_ih": (1536,),
            "bias_hh": (1536,),
        }.items()
    },
    "memory.memory": (SLOTS, DIM),
    "memory.query_proj.weight": (768, 512),
    "memory.query_proj.bias": (768,),
    "memory.write_gate.weight": (2048, 512),
    "memory.write_gate.bias": (2048,),
    "fusion.0.weight": (512, 1280),
    "fusion.0.bias": (512,),
    "fusion.3.weight": (512,),
    "fusion.3.bias": (512,),
    "output_proj.0.weight": (1024, 512),
    "output_proj.0.bias": (1024,),
    "output_proj.3.weight": (768, 1024),
    "output_proj.3.bias": (768,),
}


def test_it_has_the_stated_number_of_parameters(model: MemoryAugmentedGRU) -> None:
    """11,292,160 trainable parameters; the memory is a buffer."""
    assert 11_292_160 == PARAMETERS == sum(p.numel() for p in model.parameters())


def test_the_state_dict_is_the_file_format(model: MemoryAugmentedGRU) -> None:
    """It has exactly these keys and shapes."""
    assert {key: tuple(value.shape) for key, value in model.state_dict().items()} == SHAPES


def test_predict_returns_a_unit_vector_and_a_state(model: MemoryAugmentedGRU) -> None:
    """For the last vector only."""
    with torch.inference_mode():
        predicted, state = model.predict(torch.randn(3, 2, DIM))
    assert (2, DIM) == tuple(predicted.shape)
    assert (LAYERS, 2, HIDDEN) == tuple(state.shape)
    torch.testing.assert_close(predicted.norm(dim=-1), torch.ones(2))


def test_steps_on_a_kept_state_equal_one_pass(model: MemoryAugmentedGRU) -> None:
    """The state summarises all earlier vectors."""
    vectors = torch.randn(5, 2, DIM)
    with torch.inference_mode():
        whole, end = model(vectors)
        state, steps = None, []
        for vector in vectors:
            step, state = model(vector[None], state)
            steps.append(step)
    torch.testing.assert_close(torch.cat(steps), whole)
    torch.testing.assert_close(state, end)
