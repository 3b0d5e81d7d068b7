"""The Helm chart: what it renders, with its own values and with everything switched on."""

from __future__ import annotations

import json
import re
import subprocess
from functools import cache

import pytest

from loadtest.fleet.balancer import REQUEST_SECONDS
from loadtest.fleet.programs import find_program
from service.settings import Settings
from tests.deploy.test_compose import setting_exists
from tests.support import yaml_files
from tests.support.expressions import DEPLOY
from tests.support.tools import need, tool_path

CHART = DEPLOY / "helm" / "nextvec"
VALUES = yaml_files.load((CHART / "values.yaml").read_text(encoding="utf-8"))
SCHEMA = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
EVERYTHING = ("-f", str(CHART / "ci" / "all-values.yaml"))
KUBERNETES = ("1.30.0", "1.33.0")
needs_helm = need("helm")
each_values = pytest.mark.parametrize("values", [(), EVERYTHING], ids=["default", "everything"])


def helm(*arguments):
    return subprocess.run(
        [tool_path("helm"), *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def template(*values, version=KUBERNETES[-1]):
    options = ("--namespace", "serving", "--kube-version", version)
    done = helm("template", "nextvec", str(CHART), *options, *values)
    assert 0 == done.returncode, done.stderr
    return done.stdout


@cache
def rendered(values=()):
    """Every object by its kind and name."""
    objects = [found for found in yaml_files.load_all(template(*values)) if found]
    return {(found["kind"], found["metadata"]["name"]): found for found in objects}


def pod(values=(), name="nextvec"):
    return rendered(values)["Deployment", name]["spec"]["template"]["spec"]


def variables(values=()):
    (container,) = pod(values)["containers"]
    return {each["name"]: each for each in container["env"]}


@needs_helm
@each_values
def test_the_linter_is_content(values):
    done = helm("lint", "--strict", str(CHART), *values)
    assert 0 == done.returncode, done.stdout


@pytest.mark.slow
@needs_helm
@need("kubernetes-validate")
@pytest.mark.parametrize("version", KUBERNETES)
@each_values
def test_objects_are_valid_for_kubernetes(values, version, tmp_path):
    """Without unknown fields. The operator's own kinds have no schema here."""
    known = [
        found
        for found in yaml_files.load_all(template(*values, version=version))
        if found and not found["apiVersion"].startswith("monitoring.coreos.com")
    ]
    (tmp_path / "objects.yaml").write_text(yaml_files.dump_all(known), encoding="utf-8")
    command = [tool_path("kubernetes-validate"), "--strict", "-k", version]
    done = subprocess.run(
        [*command, tmp_path / "objects.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert 0 == done.returncode, done.stdout + done.stderr


@needs_helm
def test_there_is_everything_that_a_fleet_needs():
    kinds = {kind for kind, _ in rendered(EVERYTHING)}
    assert kinds == {
        *("ConfigMap", "Deployment", "HorizontalPodAutoscaler", "NetworkPolicy"),
        *("PodDisruptionBudget", "PrometheusRule", "Service", "ServiceAccount", "ServiceMonitor"),
    }
    assert "Secret" not in kinds, "secrets are referred to"
    assert "None" == rendered()["Service", "nextvec-replicas"]["spec"]["clusterIP"]


@needs_helm
@each_values
def test_secrets_are_files_and_variables_are_settings(values):
    for name, variable in variables(values).items():
        if name.startswith("NEXTVEC_"):
            assert setting_exists(name.removesuffix("_FILE")), name
        assert "secretKeyRef" not in variable.get("valueFrom", {})
    files = {name for name in variables(values) if name.endswith("_FILE")}
    assert {"NEXTVEC_SESSIONS__URL_FILE", "NEXTVEC_ROLLOUT__URL_FILE"} <= files
    mounted = {mount["mountPath"] for mount in pod(values)["containers"][0]["volumeMounts"]}
    assert all(variables(values)[name]["value"].rpartition("/")[0] in mounted for name in files)


@needs_helm
@each_values
@pytest.mark.parametrize("name", ["nextvec", "nextvec-envoy"])
def test_pods_have_no_privileges_and_bounded_memory(values, name):
    spec = pod(values, name)
    assert spec["securityContext"]["runAsNonRoot"]
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"], "NEXTVEC_PORT=tcp://… would be in the environment"
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"]
        assert ["ALL"] == security["capabilities"]["drop"]
        assert container["resources"]["limits"]["memory"]


@needs_helm
def test_a_drain_is_seen_and_ends_before_the_pod_is_killed():
    (container,) = pod()["containers"]
    drain = float(variables()["NEXTVEC_HTTP__DRAIN_SECONDS"]["value"])
    probe = container["readinessProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] < drain
    assert pod()["terminationGracePeriodSeconds"] >= drain + Settings().limits.timeout_seconds + 5
    assert "/v2/health/live" == container["livenessProbe"]["httpGet"]["path"], "a drain is alive"
    rolling = rendered()["Deployment", "nextvec"]["spec"]["strategy"]["rollingUpdate"]
    assert {"maxSurge": 1, "maxUnavailable": 0} == rolling


@needs_helm
@each_values
def test_a_request_may_take_as_long_as_the_setting_says(values):
    """Envoy waits longer than the service, and a pod lives longer than its last request."""
    given = {each["name"]: each.get("value") for each in variables(values).values()}
    seconds = float(given.get("NEXTVEC_LIMITS__TIMEOUT_SECONDS", Settings().limits.timeout_seconds))
    text = rendered(values)["ConfigMap", "nextvec-envoy"]["data"]["envoy.yaml"]
    timeouts = [int(found) for found in re.findall(r"^ +timeout: (\d+)s$", text, re.MULTILINE)]
    assert seconds + 1 <= min(found for found in timeouts if found)  # 0: the stream of events
    drain = float(given["NEXTVEC_HTTP__DRAIN_SECONDS"])
    assert pod(values)["terminationGracePeriodSeconds"] >= drain + seconds + 5


@needs_helm
def test_releases_of_one_name_in_two_namespaces_are_two_fleets():
    """They may use the same Redis and PostgreSQL."""
    assert "serving.nextvec" == variables()["NEXTVEC_FLEET__NAME"]["value"]
    named = variables(("--set", "fleetName=embeddings"))
    assert "embeddings" == named["NEXTVEC_FLEET__NAME"]["value"]


@needs_helm
def test_volumes_of_ones_own_are_mounted_in_the_replicas():
    """A private authority's certificate, for example."""
    names = {volume["name"] for volume in pod(EVERYTHING)["volumes"]}
    (container,) = pod(EVERYTHING)["containers"]
    assert {mount["name"] for mount in container["volumeMounts"]} == names
    assert "authority" in names


@needs_helm
def test_envoy_can_be_pulled_and_placed_like_the_replicas():
    envoy = pod(EVERYTHING, "nextvec-envoy")
    for field in ("imagePullSecrets", "priorityClassName"):
        assert pod(EVERYTHING)[field] == envoy[field]
    assert {"nodeSelector", "tolerations", "affinity"} <= envoy.keys()
    assert "runtimeClassName" not in envoy, "GPUs are the replicas'"


@needs_helm
@pytest.mark.parametrize(
    ("values", "said"),
    [
        ((), "Neither models.existingClaim"),
        (("--set", "autoscaling.enabled=true"), "3 to 12 replicas"),
    ],
)
def test_the_notes_say_what_is_missing(values, said):
    done = helm("install", "nextvec", str(CHART), "--dry-run=client", *values)
    assert said in done.stdout


@needs_helm
def test_envoys_configuration_is_the_shipped_one_with_the_services_name():
    shipped = (CHART / "files" / "envoy.yaml").read_text(encoding="utf-8")
    text = rendered()["ConfigMap", "nextvec-envoy"]["data"]["envoy.yaml"]
    named = re.sub(r"\{\{ include .*? \}\}\.\{\{.*?\}\}", "nextvec-replicas.serving", shipped)
    named = re.sub(r"\{\{ add .*? \}\}", str(REQUEST_SECONDS), named)
    assert yaml_files.load(named) == yaml_files.load(text)
    assert "nextvec-replicas.serving.svc" in text


@needs_helm
@need("envoy")
def test_envoy_accepts_what_the_chart_renders(tmp_path):
    text = rendered()["ConfigMap", "nextvec-envoy"]["data"]["envoy.yaml"]
    (tmp_path / "envoy.yaml").write_text(text, encoding="utf-8")
    check = [find_program("envoy"), "--mode", "validate", "-c", tmp_path / "envoy.yaml"]
    done = subprocess.run(check, capture_output=True, text=True, check=False, timeout=60)
    assert 0 == done.returncode, done.stderr


@needs_helm
def test_envoy_drains_before_it_is_ended():
    """The admin port is the configuration's, and the pod lives longer than its drain."""
    (container,) = pod(name="nextvec-envoy")["containers"]
    script = container["lifecycle"]["preStop"]["exec"]["command"][-1]
    text = rendered()["ConfigMap", "nextvec-envoy"]["data"]["envoy.yaml"]
    admin = yaml_files.load(text)["admin"]["address"]["socket_address"]["port_value"]
    assert f"/dev/tcp/127.0.0.1/{admin};" in script
    seconds = int(re.search(r"sleep (\d+)", script)[1])
    drain = int(container["args"][container["args"].index("--drain-time-s") + 1])
    assert drain < seconds < pod(name="nextvec-envoy")["terminationGracePeriodSeconds"]


@needs_helm
def test_a_changed_configuration_gives_envoy_new_pods():
    template = rendered()["Deployment", "nextvec-envoy"]["spec"]["template"]
    assert re.fullmatch("[0-9a-f]{64}", template["metadata"]["annotations"]["checksum/config"])


@needs_helm
@each_values
def test_each_selector_finds_its_own_pods_only(values):
    labels = {
        name: found["spec"]["template"]["metadata"]["labels"]
        for (kind, name), found in rendered(values).items()
        if kind == "Deployment"
    }
    for (kind, name), found in rendered(values).items():
        spec = found.get("spec", {})
        selector = {
            "Service": lambda spec=spec: spec["selector"],
            "PodDisruptionBudget": lambda spec=spec: spec["selector"]["matchLabels"],
            "Deployment": lambda spec=spec: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda spec=spec: spec["podSelector"]["matchLabels"],
        }.get(kind)
        if selector is not None:
            wanted = selector().items()
            assert 1 == sum(wanted <= each.items() for each in labels.values()), (kind, name)


@needs_helm
def test_monitors_select_the_services():
    monitors = [found for (kind, _), found in rendered(EVERYTHING).items() if "Monitor" in kind]
    services = [found for (kind, _), found in rendered(EVERYTHING).items() if kind == "Service"]
    assert 2 == len(monitors)
    for monitor in monitors:
        wanted = monitor["spec"]["selector"]["matchLabels"].items()
        port = monitor["spec"]["endpoints"][0]["port"]
        found = [each for each in services if wanted <= each["metadata"]["labels"].items()]
        assert any(port == named["name"] for each in found for named in each["spec"]["ports"])


@needs_helm
def test_the_autoscaler_sets_the_replicas_alone():
    assert VALUES["replicas"] == rendered()["Deployment", "nextvec"]["spec"]["replicas"]
    assert "replicas" not in rendered(EVERYTHING)["Deployment", "nextvec"]["spec"]
    scaler = rendered(EVERYTHING)["HorizontalPodAutoscaler", "nextvec"]["spec"]
    assert "nextvec" == scaler["scaleTargetRef"]["name"]
    assert "nextvec_engine_busy_ratio" == scaler["metrics"][0]["pods"]["metric"]["name"]


@needs_helm
def test_alerts_and_dashboards_are_those_of_the_repository():
    alerts = yaml_files.load((DEPLOY / "prometheus" / "alerts.yml").read_text(encoding="utf-8"))
    assert alerts == rendered(EVERYTHING)["PrometheusRule", "nextvec"]["spec"]
    for file in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        found = rendered(EVERYTHING)["ConfigMap", f"nextvec-dashboard-{file.stem.lower()}"]
        assert json.loads(file.read_text(encoding="utf-8")) == json.loads(found["data"][file.name])


@needs_helm
@pytest.mark.parametrize(
    "wrong",
    [
        "replica=3",
        "replicas=none",
        "sessions.durability=always",
        "settings.NEXTVEC_ADMIN__VIEWER_TOKEN=x",
        "settings.nextvec_port=1",
        "image.digest=latest",
        "models.existingClaim=a,models.initImage=b",
        "drainSeconds=-1",
        "rollingUpdate.maxSurge=some",
    ],
)
def test_a_wrong_value_is_refused(wrong):
    done = helm("template", "nextvec", str(CHART), "--set", wrong)
    assert 0 != done.returncode
    assert "schema" in done.stderr.lower()


def test_every_value_is_in_the_schema():
    def compare(values, schema, path):
        if "properties" not in schema:
            return
        assert not schema["additionalProperties"], path
        for name, value in values.items():
            assert name in schema["properties"], f"{path}{name}"
            if isinstance(value, dict):
                compare(value, schema["properties"][name], f"{path}{name}.")

    compare(VALUES, SCHEMA, "")


def test_the_chart_is_of_this_release():
    chart = yaml_files.load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    project = (DEPLOY.parent / "pyproject.toml").read_text(encoding="utf-8")
    assert f'version = "{chart["appVersion"]}"' in project
