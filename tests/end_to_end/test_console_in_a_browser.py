"""The console in a real browser, against a service on a socket with fake engines."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from service.app import create_app
from service.settings import Settings
from tests.support.browser import launched_browser, page_of, photograph, violations
from tests.support.fakes import TOKENS, FakeEngine, put_version, unit_vectors
from tests.support.tools import need

pytestmark = need("playwright", "chromium", "axe_playwright_python")

HOSTILE = "<img src=x onerror=window.hacked=1>"
PLAN = {
    "steps": [
        {"weight": 40, "min_dwell_seconds": 0.5, "min_samples": 50, "must_pass": ["latency"]},
        {"weight": 50, "min_dwell_seconds": 600, "min_samples": 50, "approval": True},
    ],
    "alpha": 0.1,
    "ratio": 2.0736,
    "warm_up_seconds": 0,
    "warm_up_requests": 5,
    "settle_seconds": 0,
    "baseline_samples": 100,
}


class SlowEngine(FakeEngine):
    """An engine whose every run takes `seconds`."""

    seconds = 0.002

    def run(self, vectors, lengths, state):
        time.sleep(self.seconds)
        return super().run(vectors, lengths, state)


@dataclass
class ConsoleService:
    """A service in its own thread; `canary.seconds` slows its canary down."""

    url: str
    canary: SlowEngine

    def admin(self, method, path="", **options):
        headers = {"Authorization": f"Bearer {TOKENS['approver']}", **options.pop("headers", {})}
        return httpx.request(
            method, f"{self.url}/admin/v1/rollout{path}", headers=headers, **options
        )

    def status(self):
        return self.admin("GET").json()

    def start(self, **body):
        answer = self.admin("POST", json={"canary": "phase-3", "plan": PLAN, **body})
        assert answer.status_code == 202, answer.text

    def serve(self, until, seconds=120):
        """Send requests from four threads until `until(status)` is true."""
        deadline = time.monotonic() + seconds
        enough = threading.Event()
        content = unit_vectors(3).astype("<f4").tobytes()
        form = {"Content-Type": "application/octet-stream"}

        def send():
            with httpx.Client(base_url=self.url, headers=form) as client:
                while not enough.is_set():
                    client.post("/v1/predict", content=content)

        with ThreadPoolExecutor(4) as callers:
            sending = [callers.submit(send) for _ in range(4)]
            try:
                while not until(status := self.status()):
                    assert time.monotonic() < deadline, status
                    time.sleep(0.1)
            finally:
                enough.set()
        for caller in sending:
            caller.result()


@pytest.fixture
def service(tmp_path):
    for version in ("phase-2", "phase-3"):
        put_version(tmp_path / "models", version)
    engines = {"phase-2": SlowEngine(0.5), "phase-3": SlowEngine(0.9)}
    settings = Settings(
        models=tmp_path / "models",
        canary="phase-3",
        admin={f"{role}_token": token for role, token in TOKENS.items()},
        rollout={"database": tmp_path / "state.db", "interval_seconds": 0.2},
    )
    app = create_app(settings, make_engine=lambda files: engines[files.manifest.version])
    config = uvicorn.Config(app, port=0, log_level="warning", ws="none")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield ConsoleService(f"http://127.0.0.1:{port}", engines["phase-3"])
    finally:
        server.should_exit = True
        thread.join(timeout=20)


@pytest.fixture(scope="module")
def browser():
    with launched_browser() as launched:
        yield launched


@pytest.fixture
def console(browser, service):
    with page_of(browser, f"{service.url}/console") as page:
        yield page


def sign_in(page, role="approver"):
    page.get_by_label("Token", exact=True).fill(TOKENS[role])
    page.get_by_role("button", name="Connect").click()
    page.locator("#console").wait_for()


def in_phase(page, phase):
    page.locator(f"#hero[data-phase={phase}]").wait_for()


def start_form(page, plan):
    page.get_by_role("button", name="Start a rollout").click()
    page.get_by_label("phase-3").check()
    page.get_by_label("A plan of your own").check()
    page.get_by_label("Plan, as JSON").fill(plan)


def test_a_rollout_is_started_watched_and_rolled_back(console, service):
    """The page follows a rollout from the click on Start to the rollback without a reload."""
    sign_in(console)
    in_phase(console, "Healthy")
    assert console.locator("[data-verb=abort]").count() == 0
    start_form(console, "{")
    console.locator("#confirm").click()
    console.get_by_text("The plan is not JSON").wait_for()
    console.get_by_label("Plan, as JSON").fill(json.dumps(PLAN))
    console.get_by_role("textbox", name="Reason").fill(HOSTILE)
    console.get_by_text("Healthy → Pending").wait_for()
    console.locator("#confirm").click()
    in_phase(console, "WarmingUp")
    service.serve(lambda status: status["step"] == 1)
    console.locator("[aria-current=step]").get_by_text("50\N{NO-BREAK SPACE}%").wait_for()
    console.locator("#guardrails [data-name=latency]").wait_for()
    console.locator(".chart polyline.line-canary").first.wait_for()
    photograph(console, "real-progressing")
    service.canary.seconds = 0.05
    service.serve(lambda status: status["phase"] == "RolledBack")
    in_phase(console, "RolledBack")
    assert "bad" == console.locator("#hero").get_attribute("data-tone")
    assert "RolledBack" in console.locator("#announce").inner_text()
    assert console.locator("#history q").last.inner_text() == HOSTILE
    assert console.evaluate("window.hacked") is None
    assert [] == violations(console)
    photograph(console, "real-rolled-back")


def test_an_abort_takes_two_keys_and_is_no_failure(console, service):
    """Enter on Abort opens the dialog, whose confirm button has the focus: Enter confirms."""
    service.start()
    sign_in(console, "operator")
    console.locator("[data-verb=abort]:enabled").focus()
    console.keyboard.press("Enter")
    console.locator("#dialog").wait_for()
    console.keyboard.press("Enter")
    in_phase(console, "RolledBack")
    assert service.status()["reason"] == "aborted"
    assert "quiet" == console.locator("#hero").get_attribute("data-tone")


def test_an_action_on_a_stale_state_is_refused(console, service):
    """A stale generation is refused: the dialog says so, and the page shows the new state."""
    service.start()
    sign_in(console)
    in_phase(console, "WarmingUp")
    console.get_by_role("button", name="Pause", exact=True).click()
    generation = service.status()["generation"]
    paused = service.admin("POST", "/pause", headers={"If-Match": f'"{generation}"'})
    assert paused.status_code == 200
    console.locator("#confirm").click()
    console.locator("#dialog-problem").get_by_text("read the status again").wait_for()
    in_phase(console, "Paused")
    assert console.locator("#dialog").is_visible()


def test_the_token_stays_in_the_tab(console, service):
    """The token never appears in a URL; a wrong one is asked for again; sign-out deletes it."""
    addresses = []
    console.on("request", lambda request: addresses.append(request.url))
    console.get_by_label("Token", exact=True).fill("nobody's")
    console.get_by_role("button", name="Connect").click()
    console.get_by_text("this token is unknown").wait_for()
    sign_in(console, "viewer")
    console.get_by_text("live", exact=True).wait_for()
    console.reload()
    console.get_by_text("live", exact=True).wait_for()
    console.get_by_role("button", name="Forget the token").click()
    assert console.get_by_label("Token", exact=True).is_visible()
    assert console.evaluate("[sessionStorage.length, localStorage.length]") == [0, 0]
    assert addresses
    assert not any(token in address for address in addresses for token in TOKENS.values())


def test_a_failed_gate_is_shown_and_overridden(console, service):
    """The form shows the failed figure; only then, and with a reason, it can be overridden."""
    steps = [{"shadow": True, "min_samples": 500}, *PLAN["steps"]]
    plan = {**PLAN, "gate": {"min_hit5": 0.69}, "steps": steps}
    sign_in(console)
    start_form(console, json.dumps(plan))
    console.locator("#dialog-problem").get_by_text("has no evaluation report").wait_for()
    console.get_by_role("button", name="Override…").click()
    console.locator("#confirm").click()
    assert console.locator("#dialog").is_visible(), "a reason is required"
    console.get_by_role("textbox", name="Reason").fill("to see it move")
    console.get_by_role("button", name="Override the gate and start").click()
    console.locator("#warnings").get_by_text("phase-3 has no evaluation report").wait_for()
    assert service.status()["gate"]["overridden"]
    service.serve(lambda status: status["shadow"] and status["shadow"]["copies"]["answered"] > 20)
    console.locator("#shadow").get_by_text("answered").wait_for()
    console.locator("[aria-current=step] b").get_by_text("Shadow").wait_for()
    photograph(console, "real-shadow")


@pytest.mark.parametrize("width", [320, 1600])
def test_nothing_overflows_at_any_width(console, service, width):
    """The page never scrolls horizontally; wide tables scroll inside their own box."""
    service.start(reason="x" * 900)
    console.set_viewport_size({"width": width, "height": 800})
    sign_in(console)
    console.locator("#history tr").first.wait_for()
    assert console.evaluate("document.documentElement.scrollWidth") <= width
