"""Every state of the console in a real browser: what it says, and whether everybody can use it."""

from __future__ import annotations

import pytest

from tests.support.browser import PHONE, launched_browser, page_of, photograph, violations
from tests.support.console_server import console_server
from tests.support.console_states import STATES
from tests.support.tools import need

pytestmark = need("playwright", "chromium", "axe_playwright_python")

VERDICTS = {
    "idle": "No rollout",
    "preparing": "phase-3 is being loaded",
    "warming_up": "phase-3 warms up on 5 % of new requests",
    "too_early": "It is too early to judge phase-3 at 25 %",
    "looks_good": "phase-3 looks good",
    "leaning_to_fail": "phase-3 looks too slow",
    "needs_you": "phase-3 has passed step 3 of 3 (50 %) and waits for your approval",
    "blind": "phase-3 is not being judged",
    "paused": "phase-3 is paused by alice in step 2 of 3 (25 %)",
    "rolled_back": "phase-3 was rolled back in step 2 of 3 (25 %) because it was too slow",
    "stopped": "phase-3 was stopped by alice in step 2 of 3 (25 %)",
    "promoted": "phase-3 is stable and has all traffic",
    "shadow": "phase-3 works on copies of requests",
}
PRIMARY = {
    "idle": "Start a rollout",
    "preparing": "Abort now",
    "warming_up": "Abort now",
    "too_early": "Abort now",
    "looks_good": "Abort now",
    "leaning_to_fail": "Abort now",
    "needs_you": "Make phase-3 stable",
    "blind": "Abort now",
    "paused": "Resume",
    "rolled_back": "Start a rollout",
    "stopped": "Retry phase-3",
    "promoted": "Start a rollout",
    "shadow": "Abort now",
}
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def browser():
    with launched_browser() as launched:
        yield launched


@pytest.fixture
def fixture():
    with console_server() as served:
        yield served


@pytest.fixture
def page(browser, fixture):
    with page_of(browser, f"{fixture.url}/console") as opened:
        yield opened


def open_in(page, fixture, state, role="approver"):
    fixture.state, fixture.role = state, role
    page.get_by_label("Token", exact=True).fill(TOKEN)
    page.get_by_role("button", name="Connect").click()
    page.locator(f"#hero[data-outlook={fixture.status()['outlook']}]").wait_for()
    page.locator("#chart-card:visible").wait_for()


def test_every_state_is_tested():
    assert STATES.keys() == VERDICTS.keys() == PRIMARY.keys()


@pytest.mark.parametrize("state", STATES)
def test_a_state_says_what_is_going_on_and_everybody_can_read_it(page, fixture, state):
    """The verdict, the likely action first, no axe-core violation, nothing beyond a phone."""
    open_in(page, fixture, state)
    assert page.locator("#verdict").inner_text().endswith(VERDICTS[state])
    assert PRIMARY[state] == page.locator("#hero-actions button").first.inner_text()
    photograph(page, state)
    assert [] == violations(page)
    page.set_viewport_size(PHONE)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert [] == violations(page, "color-contrast", "target-size")


def test_the_page_without_a_token_can_be_read_by_everybody(page):
    photograph(page, "no_token")
    assert [] == violations(page)


def test_a_persons_abort_does_not_look_like_a_failure(page, fixture):
    open_in(page, fixture, "stopped")
    assert "quiet" == page.locator("#hero").get_attribute("data-tone")
    assert "wrong version" in page.locator("#hero").inner_text()


def test_a_replica_that_withholds_the_canary_says_so(page, fixture):
    fixture.more = {"fleet": {"withheld": "the record is 12 s old", "leader": None}}
    open_in(page, fixture, "looks_good")
    told = page.locator("#warnings").inner_text()
    assert "keeps the canary out of traffic: the record is 12 s old." in told
    assert "No replica evaluates the rollout now." in told


def test_a_shadow_step_that_is_over_is_told_in_the_past(page, fixture):
    fixture.more = {"shadow": STATES["shadow"](0.0)["shadow"]}
    open_in(page, fixture, "looks_good")
    assert "Before it had callers" in page.locator("#shadow-text").inner_text()


def test_size_certainty_and_time_are_on_the_first_screen(page, fixture):
    open_in(page, fixture, "leaning_to_fail")
    assert "4.7×" in page.locator("#size-big").inner_text()
    assert "103\N{NO-BREAK SPACE}ms against 21.9\N{NO-BREAK SPACE}ms" in (
        page.locator("#size-values").inner_text()
    )
    assert "limit 1.2×" in page.locator("#size-plot svg").get_attribute("aria-label")
    assert "83 % to a fail" == page.locator("#sure-big").inner_text()
    assert "How long until the rollback?" == page.locator("#time-title").inner_text()
    assert "≈" in page.locator("#time-big").inner_text()
    assert "If it recovers, the step ends with:" == page.locator("#conditions-title").inner_text()
    for card in page.locator("#cards .card").all():
        box = card.bounding_box()
        assert box["y"] + box["height"] <= 900


def test_guardrails_are_sorted_by_nearness_and_show_their_arithmetic(page, fixture):
    """The one that fails comes first; Enter on its button opens the arithmetic."""
    open_in(page, fixture, "leaning_to_fail")
    names = [row.get_attribute("data-name") for row in page.locator("tr.guardrail").all()]
    assert ["inference", "latency", "errors", "interference", "quality"] == names
    page.get_by_role("button", name="Arithmetic of P95 in the engine").focus()
    page.keyboard.press("Enter")
    page.get_by_text("ln E, fail").first.wait_for()


def test_illegal_actions_are_hidden_and_a_disabled_one_says_why(page, fixture):
    open_in(page, fixture, "looks_good")
    shown = {button.get_attribute("data-verb") for button in page.locator("[data-verb]").all()}
    assert {"abort", "pause", "promote", "override", "start"} >= shown
    assert {"retry", "undo", "resume"} & shown == set()
    promote = page.locator("[data-verb=promote]")
    assert promote.is_disabled()
    note = page.locator("#verbs-note").inner_text()
    assert "Promote to 50\N{NO-BREAK SPACE}%: possible when P95 latency has passed." in note


def test_a_role_that_is_too_low_is_said(page, fixture):
    open_in(page, fixture, "needs_you", "operator")
    assert page.locator("[data-verb=promote]").is_disabled()
    assert "needs the role approver" in page.locator("#verbs-note").inner_text()


def test_force_is_behind_override_and_needs_a_reason(page, fixture):
    open_in(page, fixture, "looks_good")
    asked = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    page.get_by_role("button", name="Override…").click()
    page.get_by_text("The guardrails have not passed.").wait_for()
    photograph(page, "override")
    assert [] == violations(page)
    page.locator("#confirm").click()
    assert page.locator("#dialog").is_visible(), "a reason is required"
    page.get_by_role("textbox", name="Reason").fill("the fix is urgent")
    page.locator("#confirm").click()
    page.locator("#dialog").wait_for(state="hidden")
    assert asked[-1].url.endswith("/promote?force=true")
    assert "the fix is urgent" == asked[-1].post_data_json["reason"]


def test_the_start_form_has_figures_plans_and_the_gate(page, fixture):
    """Everything with the keyboard: the version, the plan, the preview, the start."""
    open_in(page, fixture, "idle")
    asked = []
    page.on("request", lambda request: asked.append(request) if request.method == "POST" else None)
    page.locator("[data-verb=start]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("37.7\N{NO-BREAK SPACE}%").wait_for()
    assert page.get_by_label("phase-3").is_checked()
    assert page.get_by_label("phase-2").is_disabled()
    page.get_by_text("at least 13 min").wait_for()
    page.locator("#preview").get_by_text("This plan has no gate").wait_for()
    photograph(page, "start")
    assert [] == violations(page)
    page.get_by_label("phase-3").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    assert page.get_by_label("Quick: two steps").is_checked()
    page.get_by_role("textbox", name="Reason").focus()
    page.keyboard.type("longer context")
    page.locator("#confirm").focus()
    page.keyboard.press("Enter")
    page.locator("#dialog").wait_for(state="hidden")
    sent = asked[-1].post_data_json
    assert ("phase-3", "longer context") == (sent["canary"], sent["reason"])
    assert [10.0, 50.0] == [step["weight"] for step in sent["plan"]["steps"]]


def test_a_lost_connection_greys_the_page_and_ends(page, fixture):
    """It says of when the page is, disables every action, and reconnects by itself."""
    open_in(page, fixture, "leaning_to_fail")
    fixture.lost = True
    page.get_by_text("Connection lost. The page shows the state as of").wait_for()
    assert "UTC" in page.locator("#lost").inner_text()
    assert "true" == page.locator("body").get_attribute("data-stale")
    for button in page.locator("[data-verb]").all():
        assert button.is_disabled()
    photograph(page, "lost")
    assert [] == violations(page)
    fixture.lost = False
    page.get_by_text("live", exact=True).wait_for()
    page.locator("[data-verb=abort]:enabled").wait_for()
    assert page.locator("#lost").is_hidden()


def test_a_pointer_reads_a_chart_at_its_time(page, fixture):
    open_in(page, fixture, "leaning_to_fail")
    figure = page.locator("figure.chart").first
    before = figure.locator("figcaption").inner_text()
    assert "UTC" not in before
    figure.locator("svg").hover(position={"x": 60, "y": 40})
    assert "UTC" in figure.locator("figcaption").inner_text()
    assert "canary –" in figure.locator("figcaption").inner_text(), "it had no traffic then"
    page.mouse.move(0, 0)
    assert before == figure.locator("figcaption").inner_text()


def test_times_have_a_zone_that_can_be_utc(browser, fixture):
    with page_of(browser, f"{fixture.url}/console", timezone_id="Europe/Berlin") as page:
        open_in(page, fixture, "paused")
        page.locator("#history time").first.wait_for()
        assert page.locator("#history time").first.inner_text()[-5:] in {"UTC+1", "UTC+2"}
        page.locator("#zone").click()
        assert page.locator("#history time").first.inner_text().endswith("UTC")


def test_links_are_shown_where_they_are_set(page, fixture):
    open_in(page, fixture, "idle")
    assert "http://grafana.example/d/nextvec" == page.locator("#grafana").get_attribute("href")
    assert "staging" == page.locator("#installation").inner_text()
