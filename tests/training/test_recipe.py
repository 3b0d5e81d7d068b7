"""A recipe is complete and sensible, or refused with the field named."""

from __future__ import annotations

from pathlib import Path

import pytest

from architectures.decayed_means import DecayedMeans
from architectures.memory_augmented_gru import MemoryAugmentedGRU
from training import recipe
from training.recipe import RecipeError

RECIPES = Path(recipe.__file__).parent / "recipes"


@pytest.mark.parametrize(("name", "window"), [("phase-2", 500), ("phase-3", 1000)])
def test_the_shipped_recipes_load(name: str, window: int) -> None:
    """Each under its own name, with its phase's window."""
    loaded = recipe.load(RECIPES / f"{name}.toml")
    assert (name, window) == (loaded.name, loaded.window)


def test_the_architectures_are_those_of_the_models() -> None:
    assert {MemoryAugmentedGRU.ARCHITECTURE, DecayedMeans.ARCHITECTURE} == {*recipe.ARCHITECTURES}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("window = 500", "window = 0", "window: Input should be greater than 0"),
        ("window = 500", "window = -1", "window: Input should be greater than 0"),
        ("window = 500", "window = 500.5", "window: Input should be a valid integer"),
        ("window = 500", "window = true", "window: Input should be a valid integer"),
        ("window = 500", "", "window: Field required"),
        ("window = 500", "window = 500\nwindows = 1", "windows: Unexpected keyword argument"),
        ('name = "phase-2"', "name = 2", "name: Input should be a valid string"),
        ("alpha = 1.0", 'alpha = "high"', "alpha: Input should be a valid number"),
        ("temperature = 0.07", "temperature = 0", "temperature: Input should be greater than 0"),
        ("batch = 8", "batch = ", "recipe.toml: "),
        ("alpha = 1.0", "alpha = nan", "alpha: Input should be a finite number"),
        (
            "learning_rate = 1e-3",
            "learning_rate = inf",
            "learning_rate: Input should be a finite number",
        ),
        ("dropout = 0.1", "dropout = 1.0", "dropout: Input should be less than 1"),
        (
            "gradient_clip = 1.0",
            "gradient_clip = 0.0",
            "gradient_clip: Input should be greater than 0",
        ),
        (
            "seed = 0",
            "seed = 18446744073709551616",
            "seed: Input should be less than 9223372036854775808",
        ),
        ('name = "phase-2"', 'name = "../phase-2"', "name: String should match pattern"),
        ('name = "phase-2"', 'name = ""', "name: String should match pattern"),
    ],
)
def test_a_wrong_field_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    """The message names the field."""
    text = (RECIPES / "phase-2.toml").read_text()
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=says):
        recipe.load(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    path = tmp_path / "latin.toml"
    path.write_bytes("name = 'ü'".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.toml"):
        recipe.load(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """The message names the file."""
    with pytest.raises(RecipeError, match=r"absent\.toml"):
        recipe.load(tmp_path / "absent.toml")


def test_given_values_replace_the_recipes_own() -> None:
    """None keeps the recipe's value."""
    loaded = recipe.load(RECIPES / "phase-2.toml")
    changed = recipe.override(loaded, epochs=2, seed=None)
    assert (2, loaded.seed, loaded.window) == (changed.epochs, changed.seed, changed.window)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("epochs", -1), ("seed", -1)])
def test_an_absurd_value_is_refused(name: str, value: int) -> None:
    """Seed 0 is valid; 0 epochs are not."""
    with pytest.raises(RecipeError, match=f"{name}: Input should be greater than"):
        recipe.override(recipe.load(RECIPES / "phase-2.toml"), **{name: value})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("width = ", "width = 9", "width: Input should be less than or equal to 768"),
        ("whitening = ", "whitening = 1.5 #", "whitening: Input should be less than or equal to 1"),
        ("interpolation = ", "interpolation = 1.5 #", "interpolation: .* less than or equal to 1"),
        ("interpolation = ", "interpolation = 0.0 #", "interpolation: .* greater than 0"),
        ("batch_span = ", "batch_span = 100 #", "batch_span: smaller than the batch"),
        ("decays = ", "decays = [1.0] #", r"decays\.0: Input should be less than 1"),
        (
            "initial_scale = ",
            "initial_scale = [1.0] #",
            "initial_scale: needs one for the last vector",
        ),
        ("initial_scale = ", "initial_scale = [-1.0] #", r"initial_scale\.0: .* greater than"),
        ("initial_scale = ", "initial_scale = [inf] #", r"initial_scale\.0: .* finite number"),
        ("initial_scale = ", "initial_scale = [true] #", r"initial_scale\.0: .* valid number"),
        ("initial_scale = ", "initial_scale = [0.0, 0, 0, 0, 0] #", "initial_scale: all are 0"),
        ("decays = ", f"decays = {[0.5] * 65} #", "decays: Tuple should have at most 64 items"),
        ("whitening = ", "whitening = nan #", "whitening: Input should be a finite number"),
        (
            'architecture = "decayed-means"',
            'architecture = "memory-augmented-gru"',
            "initial_scale, whitening, batch_span: only for decayed-means",
        ),
    ],
)
def test_a_wrong_field_of_the_decayed_means_is_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    """The message names the field."""
    text = (RECIPES / "phase-3m.toml").read_text()
    assert old in text
    if "gru" in new:
        text = "\n".join(line for line in text.split("\n") if not line.startswith("decays"))
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=says):
        recipe.load(path)
