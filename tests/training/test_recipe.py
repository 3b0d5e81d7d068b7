"""A recipe is complete and sensible, or refused with the field named."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import recipe
from training.recipe import RecipeError

RECIPES = Path(recipe.__file__).parent / "recipes"


@pytest.mark.parametrize(("name", "window"), [("phase-2", 500), ("phase-3", 1000)])
def test_the_shipped_recipes_load(name: str, window: int) -> None:
    """Each under its own name, with its phase's window."""
    loaded = recipe.load(RECIPES / f"{name}.toml")
    assert (name, window) == (loaded.name, loaded.window)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("window = 500", "window = 0", "window is zero"),
        ("window = 500", "window = -1", "window is negative"),
        ("window = 500", "window = 500.5", "window is not a int"),
        ("window = 500", "window = true", "window is not a int"),
        ("window = 500", "", "missing window"),
        ("window = 500", "window = 500\nwindows = 1", "unknown windows"),
        ('name = "phase-2"', "name = 2", "name is not a str"),
        ("alpha = 1.0", 'alpha = "high"', "alpha is not a float"),
        ("temperature = 0.07", "temperature = 0", "temperature is zero"),
        ("batch = 8", "batch = ", "recipe.toml: "),
        ("alpha = 1.0", "alpha = nan", "alpha is nan"),
        ("learning_rate = 1e-3", "learning_rate = inf", "learning_rate is inf"),
        ("dropout = 0.1", "dropout = 1.0", "dropout is 1.0"),
        ("gradient_clip = 1.0", "gradient_clip = 0.0", "gradient_clip is zero"),
        ("seed = 0", "seed = 18446744073709551616", "seed is .*: too large"),
        ('name = "phase-2"', 'name = "../phase-2"', "cannot be a file's name"),
        ('name = "phase-2"', 'name = ""', "cannot be a file's name"),
    ],
)
def test_a_wrong_field_is_refused(tmp_path: Path, old: str, new: str, says: str) -> None:
    """By name."""
    text = (RECIPES / "phase-2.toml").read_text()
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=says):
        recipe.load(path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """With its path."""
    path = tmp_path / "latin.toml"
    path.write_bytes("name = 'ü'".encode("latin-1"))
    with pytest.raises(RecipeError, match=r"latin\.toml"):
        recipe.load(path)


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    """With its path."""
    with pytest.raises(RecipeError, match=r"absent\.toml"):
        recipe.load(tmp_path / "absent.toml")


def test_given_values_replace_the_recipes_own() -> None:
    """None leaves a value as it is."""
    loaded = recipe.load(RECIPES / "phase-2.toml")
    changed = recipe.override(loaded, epochs=2, seed=None)
    assert (2, loaded.seed, loaded.window) == (changed.epochs, changed.seed, changed.window)


@pytest.mark.parametrize(("name", "value"), [("epochs", 0), ("epochs", -1), ("seed", -1)])
def test_an_absurd_value_is_refused(name: str, value: int) -> None:
    """Seed 0 is a seed; 0 epochs are no training."""
    with pytest.raises(RecipeError, match=f"{name} is {value}"):
        recipe.override(recipe.load(RECIPES / "phase-2.toml"), **{name: value})


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("width = ", "width = 9", "width is more than 768"),
        ("whitening = ", "whitening = 1.5 #", "whitening is more than 1"),
        ("moved = ", "moved = 1.5 #", "moved is more than 1"),
        ("moved = ", "moved = 0.0 #", "moved is zero"),
        ("stretch = ", "stretch = 100 #", "stretch is less than the batch"),
        ("decays = ", "decays = [1.0] #", "decays are not all between 0 and 1"),
        ("shares = ", "shares = [1.0] #", "shares are not one for the last vector"),
        ("shares = ", "shares = [-1.0] #", "shares are not all numbers from 0 on"),
        ("shares = ", "shares = [inf] #", "shares are not all numbers from 0 on"),
        ("shares = ", "shares = [true] #", "shares are not all numbers from 0 on"),
        ("shares = ", "shares = [0.0, 0, 0, 0, 0] #", "shares are all 0"),
        ("decays = ", f"decays = {[0.5] * 65} #", "more than 64 decays"),
        ("whitening = ", "whitening = nan #", "whitening is nan"),
        (
            'architecture = "decayed-means"',
            'architecture = "memory-augmented-gru"',
            "shares, whitening, stretch go with decayed-means alone",
        ),
    ],
)
def test_a_wrong_field_of_the_decayed_means_is_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    """By name."""
    text = (RECIPES / "phase-3m.toml").read_text()
    assert old in text
    if "gru" in new:
        text = "\n".join(line for line in text.split("\n") if not line.startswith("decays"))
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new))
    with pytest.raises(RecipeError, match=says):
        recipe.load(path)
