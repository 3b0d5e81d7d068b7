"""The runner of the tutorial, on pages of a few lines."""

from __future__ import annotations

import pytest

from deploy.site.tutorial import PAGE, TutorialError, blocks, missing_line, run

SMALL = """
# Tutorial

## 1. Write

```yaml title="plan.yaml"
alpha: 0.1
```

<!-- tutorial: skip -->
```sh
exit 3
```

```sh
export NAME=ada
cat plan.yaml
echo "took 12.5 ms for $NAME"
```
```text
alpha: 0.9
took 3 ms for ada
```

## 2. Fail

```sh
false
```
"""


def test_a_page_is_run_up_to_a_heading(tmp_path):
    times = run(SMALL, tmp_path, until="2.")
    assert ["1. Write"] == [heading for heading, _ in times]
    assert "alpha: 0.1\n" == (tmp_path / "plan.yaml").read_text()


def test_a_command_that_fails_is_named(tmp_path):
    with pytest.raises(TutorialError, match=r"2\. Fail: exit 1"):
        run(SMALL, tmp_path)


def test_output_that_differs_is_shown(tmp_path):
    other = SMALL.replace("took 3 ms for ada", "took 3 ms for bob")
    with pytest.raises(TutorialError, match="no line like\ntook 3 ms for bob"):
        run(other, tmp_path)


@pytest.mark.parametrize(
    ("expected", "printed", "missing"),
    [
        ("a 1.5 b", "x\na   22 b", None),
        ("sha256 " + "0a" * 32 + ", parity 1.1e-06", f"sha256 {'f' * 64}, parity 2e-7", None),
        (
            '{"next_vector":[0.1,…],"variant":"stable"}',
            '{"next_vector":[-3,4,5],"variant":"stable"}',
            None,
        ),
        ("first\nsecond", "second\nfirst", "second"),
        ("a (b)", "a b", "a (b)"),
        ("rolled back", "promoted", "rolled back"),
    ],
)
def test_numbers_may_differ_and_words_may_not(expected, printed, missing):
    assert missing == missing_line(expected, printed)


def test_the_page_has_commands_output_and_a_service():
    found = list(blocks(PAGE.read_text()))
    assert {"sh", "text", "yaml"} <= {block.kind for block in found}
    assert 1 == sum(block.how == "service" for block in found)
    assert len([block for block in found if block.how == "background"]) >= 2
