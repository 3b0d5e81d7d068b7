"""Recipes with stages: the shipped ones are read, wrong ones are refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.cli import main
from training.recipe import RecipeError
from training.stages import recipe


@pytest.mark.parametrize("name", ["phase-2-library", "phase-3-library"])
def test_the_shipped_staged_recipes_are_read(name: str) -> None:
    path = Path(recipe.__file__).parents[1] / "recipes" / f"{name}.toml"
    assert recipe.is_staged(path)
    chosen = recipe.load(path)
    assert (chosen.name, chosen.window) == (name, 500 if name.startswith("phase-2") else 1000)
    shorter = recipe.override(chosen, seed=3, epochs=2)
    assert (shorter.seed, {stage.epochs for stage in shorter.stages}) == (3, {2.0})


_STAGE = "[[stages]]\nwindow = 8\nbatch = 4\nlearning_rate = 1e-3\nfinal_learning_rate = 0.0\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_STAGE, "give either seconds or epochs"),
        (_STAGE + "seconds = 1.0\nepochs = 1.0\n", "give either seconds or epochs"),
        (_STAGE.replace("8", "0") + "epochs = 1.0\n", r"stages\.0: window: .*greater than 0"),
        ("stages = []\n", "stages: .*at least 1 item"),
        (_STAGE + "epochs = 1.0\n[other]\n", "other: Unexpected"),
    ],
)
def test_a_wrong_staged_recipe_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text('name = "wrong"\n' + text)
    with pytest.raises(RecipeError, match=message):
        recipe.load(path)


@pytest.mark.slow
def test_a_recipe_without_stages_refuses_what_it_cannot_do(
    small_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for option in (["--device", "cuda"], ["--hold-out-genre", "law"]):
        with pytest.raises(SystemExit, match="has no stages"):
            main(["train", "phase-2", "--data", str(small_file), *option])
    assert capsys.readouterr().out == ""
