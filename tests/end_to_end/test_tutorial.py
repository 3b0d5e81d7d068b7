"""The tutorial's first prediction, as its page says. `make tutorial` runs the whole page."""

from __future__ import annotations

from deploy.site.tutorial import PAGE, run
from tests.support.ports import free_port


def test_the_tutorial_leads_to_a_first_prediction(models, tmp_path):
    """With versions of short windows in place of the exports, which take a minute."""
    (tmp_path / "models").symlink_to(models)
    done = run(PAGE.read_text(), tmp_path, skip="1.", until="4.", port=free_port())
    assert ["2. Start the service", "3. Your first prediction"] == [heading for heading, _ in done]
