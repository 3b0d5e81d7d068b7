"""Compose and image: pinned, local, unprivileged, and consistent with the repository."""

from __future__ import annotations

import re

import pytest

from service.rollout.plan.rollout_plan import RolloutPlan
from service.settings import Settings
from tests.support import yaml_files
from tests.support.expressions import DEPLOY

ROOT = DEPLOY.parent
COMPOSE = yaml_files.load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
GPU = yaml_files.load((DEPLOY / "compose.gpu.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
TEXT = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
YAML_FILES = sorted(file for file in DEPLOY.rglob("*.y*ml") if "templates" not in file.parts)

each_service = pytest.mark.parametrize("name", SERVICES)


def setting_exists(variable):
    """Whether `NEXTVEC_A__B` names a field of the settings."""
    model = Settings
    for part in variable.removeprefix("NEXTVEC_").lower().split("__"):
        if part not in getattr(model, "model_fields", {}):
            return False
        model = model.model_fields[part].annotation
    return True


@pytest.mark.parametrize("file", YAML_FILES, ids=[str(f.relative_to(DEPLOY)) for f in YAML_FILES])
def test_every_yaml_file_parses(file):
    text = file.read_text(encoding="utf-8")
    assert yaml_files.load(re.sub(r"\{\{.*?\}\}", "filled-in-by-helm", text))


def test_there_are_the_service_prometheus_and_grafana():
    assert {"service", "prometheus", "grafana"} == SERVICES.keys()


@each_service
def test_images_are_pinned(name):
    tag = SERVICES[name]["image"].partition(":")[2]

    assert re.fullmatch(r"v?\d+\.\d+\.\d+", tag)


@each_service
def test_ports_are_bound_to_localhost(name):
    assert SERVICES[name]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


@each_service
def test_a_service_restarts_is_watched_and_has_no_privileges(name):
    service = SERVICES[name]

    assert "unless-stopped" == service["restart"]
    assert "CMD" == service["healthcheck"]["test"][0], "a shell may not be in the image"
    assert ["ALL"] == service["cap_drop"]
    assert ["no-new-privileges:true"] == service["security_opt"]


@each_service
def test_memory_and_processes_are_bounded(name):
    service = SERVICES[name]

    assert service["mem_limit"]
    assert service["memswap_limit"] == service["mem_limit"], "swap would only delay the end"
    assert service["pids_limit"] <= 512


def test_the_memory_limit_leaves_room_beside_the_sessions():
    limit = SERVICES["service"]["mem_limit"]
    gigabytes = int(re.fullmatch(r"\$\{NEXTVEC_MEMORY:-(\d+)g\}", limit)[1])
    sessions = int(SERVICES["service"]["environment"]["NEXTVEC_SESSIONS__MAX_BYTES"])

    assert sessions <= gigabytes * 2**30 // 2


def test_both_stages_are_on_the_base_that_the_build_names():
    assert ["${BASE} AS builder", "${BASE}"] == re.findall(r"^FROM (.+)$", DOCKERFILE, re.MULTILINE)


def test_the_base_has_a_tag_where_no_digest_is_given():
    """checkov does not see it there, and is told so in the Dockerfile."""
    base = re.search(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)[1]
    assert re.fullmatch(r"python:\d\.\d+-slim", base)
    assert f"BASE: ${{NEXTVEC_BASE_IMAGE:-{base}}}" in TEXT


def test_the_image_installs_with_hashes_only():
    steps = re.split(r"&&|^[A-Z]+ ", DOCKERFILE, flags=re.MULTILINE)
    installs = [step for step in steps if re.search(r"^\s*pip .*?\b(install|wheel)\b", step)]

    assert 4 == len(installs)
    assert all("--require-hashes" in line or "--no-deps" in line for line in installs)


@pytest.mark.parametrize("extras", ["", *GPU["services"]["service"]["build"]["args"].values()])
def test_the_lock_of_each_image_reaches_the_build(extras):
    lock = f"requirements/image{'-' if extras else ''}{extras}.lock"

    assert (ROOT / lock).is_file()
    assert "!requirements/*.lock" in (ROOT / ".dockerignore").read_text(encoding="utf-8")


@each_service
def test_mounts_from_the_repository_exist_and_are_read_only(name):
    for mount in SERVICES[name]["volumes"]:
        if isinstance(mount, dict):
            continue
        source, _, options = mount.partition(":")
        if source.startswith("."):
            assert (DEPLOY / source).exists()
            assert options.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_models_are_read_only_and_state_is_a_named_volume():
    mounts = {mount["target"]: mount for mount in SERVICES["service"]["volumes"]}

    assert mounts["/models"]["read_only"]
    assert not mounts["/models"]["bind"]["create_host_path"]
    assert "volume" == mounts["/state"]["type"]
    assert mounts["/state"]["source"] in COMPOSE["volumes"]


def test_the_service_runs_on_a_read_only_file_system():
    assert SERVICES["service"]["read_only"]


def test_the_build_finds_its_dockerfile():
    build = SERVICES["service"]["build"]

    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()


@pytest.mark.parametrize(
    "variable", [*SERVICES["service"]["environment"], *GPU["services"]["service"]["environment"]]
)
def test_the_environment_names_settings_that_exist(variable):
    """The service ignores an unknown variable at the top level, so a typo would go unnoticed."""
    assert setting_exists(variable)


def test_the_gpu_build_argument_is_one_of_the_dockerfile():
    for argument in GPU["services"]["service"]["build"]["args"]:
        assert re.search(rf"^ARG {argument}\b", DOCKERFILE, re.MULTILINE)


def test_secrets_have_no_default_and_say_where_to_set_them():
    secrets = re.findall(r"\$\{(\w+(?:TOKEN|PASSWORD))([^}]*)\}", TEXT)

    assert 4 == len(secrets)
    for name, rest in secrets:
        assert rest.startswith(f":?set {name} in deploy/.env")


def test_the_example_lists_every_variable_that_compose_reads():
    read = set(re.findall(r"\$\{(\w+)", TEXT))
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")

    assert read == set(re.findall(r"^#?(\w+)=", example, re.MULTILINE))


def test_no_secret_is_in_the_repository():
    example = (DEPLOY / ".env.example").read_text(encoding="utf-8")

    assert all(not value for value in re.findall(r"(?:TOKEN|PASSWORD)=(.*)", example))
    assert ".env" in (DEPLOY / ".gitignore").read_text(encoding="utf-8").split()


def test_compose_and_alert_agree_on_the_memory_of_sessions():
    budget = SERVICES["service"]["environment"]["NEXTVEC_SESSIONS__MAX_BYTES"]
    alerts = (DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8")

    assert f"0.9 * {budget}" in alerts


def test_a_stop_waits_for_requests_in_flight():
    grace = int(SERVICES["service"]["stop_grace_period"].removesuffix("s"))

    assert Settings().limits.timeout_seconds + 5 <= grace


def test_prometheus_scrapes_the_service_where_compose_puts_it():
    config = yaml_files.load((DEPLOY / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = config["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    port = re.search(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)

    assert f"service:{port[1]}" == target
    assert target.split(":")[0] in SERVICES


def test_grafana_finds_prometheus_and_the_dashboard_where_they_are():
    provisioning = DEPLOY / "grafana" / "provisioning"
    sources = yaml_files.load(
        (provisioning / "datasources" / "prometheus.yaml").read_text(encoding="utf-8")
    )
    boards = yaml_files.load(
        (provisioning / "dashboards" / "nextvec.yaml").read_text(encoding="utf-8")
    )
    (source,) = sources["datasources"]
    folder = boards["providers"][0]["options"]["path"]
    mounts = [mount.split(":") for mount in SERVICES["grafana"]["volumes"]]

    assert "http://prometheus:9090" == source["url"]
    assert ["./grafana/dashboards", folder, "ro"] in mounts
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert f"{folder}/nextvec.json" == home


def test_the_image_runs_as_a_user_and_starts_without_a_shell():
    final = DOCKERFILE.split("\nFROM ")[-1]

    assert "\nUSER 10001:10001\n" in final
    assert '\nENTRYPOINT ["nextvec"]\nCMD ["serve"]\n' in final
    assert "\nSTOPSIGNAL SIGTERM\n" in final
    assert "/v2/health/live" in final


def test_the_images_environment_names_settings_that_exist():
    variables = re.findall(r"(NEXTVEC_\w+)=", DOCKERFILE)

    assert variables
    assert all(setting_exists(variable) for variable in variables)


def test_the_build_context_has_only_what_the_image_copies():
    ignore = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copied = {
        source.rstrip("/")
        for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    }

    assert "*" in ignore
    assert copied == {line[1:] for line in ignore if line.startswith("!")}


def test_the_image_has_no_packages_of_training_and_export():
    """The image installs its locks only, and no lock of an image contains torch."""
    locks = re.findall(r"install[^&]*?-r \"?(\S+?\.lock)", DOCKERFILE)
    image = (ROOT / "requirements" / "image.lock").read_text(encoding="utf-8")
    cuda = (ROOT / "requirements" / "image-cuda.lock").read_text(encoding="utf-8")

    assert [
        "requirements/build.lock",
        "requirements/image${RUNTIME_EXTRAS:+-$RUNTIME_EXTRAS}.lock",
    ] == locks
    assert not re.search(
        r"^(?:torch|transformers|pytest|matplotlib|nvidia\S*)==", image, re.MULTILINE
    )
    assert not re.search(r"^(?:torch|transformers|pytest|matplotlib)==", cuda, re.MULTILINE)


def test_the_runbook_names_the_defaults():
    runbook = (ROOT / "docs" / "how-to" / "runbook.md").read_text(encoding="utf-8")

    assert 1000 == RolloutPlan().baseline_samples
    assert "1,000 requests (`baseline_samples`)" in runbook
    assert 86_400 == RolloutPlan().pause_deadline_seconds
    assert "a day by default" in runbook
