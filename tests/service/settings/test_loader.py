"""Configuration from the file, the environment and options: nothing goes wrong in silence."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from service.settings.catalog import catalog
from service.settings.environment import OTHER_VARIABLES
from service.settings.loader import ConfigurationError, load_settings, mask_secrets, value_of
from tests.support.sources import modules, text

SECRET = "s3cret-s3cret-s3cret"


@pytest.fixture(autouse=True)
def _in_an_empty_directory(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def write(tmp_path):
    def write(content, name="nextvec.toml"):
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


def problems(environ=None, **given):
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ or {}, **given)
    return caught.value.problems


def test_the_last_source_wins(write):
    """The file, then the environment, then options; each value knows where it came from."""
    file = write('stable = "a"\ncanary = "b"\nhost = "::1"\n[engine]\nmax_batch = 7\n')
    loaded = load_settings(
        {"NEXTVEC_CANARY": "c", "NEXTVEC_HOST": "::2", "OTHER": "x"},
        config=file,
        options={"host": "::3"},
    )
    settings = loaded.settings
    assert ("a", "c", "::3", 7) == (
        settings.stable,
        settings.canary,
        settings.host,
        settings.engine.max_batch,
    )
    assert loaded.sources == {
        "stable": f"file {file}",
        "canary": "environment (NEXTVEC_CANARY)",
        "host": "option --host",
        "engine.max_batch": f"file {file}",
    }
    assert () == loaded.warnings


def test_the_file_is_the_option_or_the_variable_or_nextvec_toml(write):
    write('stable = "here"')
    other = write('stable = "other"', "other.toml")
    third = write('stable = "third"', "third.toml")
    named = {"NEXTVEC_CONFIG": str(other)}
    assert "here" == load_settings({}).settings.stable
    assert "here" == load_settings({"NEXTVEC_CONFIG": ""}).settings.stable
    assert "other" == load_settings(named).settings.stable
    assert "third" == load_settings(named, config=third).settings.stable


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("NEXTVEC_STABEL", "NEXTVEC_STABLE"),
        ("NEXTVEC_ENGINE_DEVICE", "NEXTVEC_ENGINE__DEVICE"),
        ("NEXTVEC_ENGINE__MAXBATCH", "NEXTVEC_ENGINE__MAX_BATCH"),
        ("NEXTVEC_ADMIN_APPROVER_TOKEN", "NEXTVEC_ADMIN__APPROVER_TOKEN"),
        ("NEXTVEC_ADMIN__APROVER_TOKEN_FILE", "NEXTVEC_ADMIN__APPROVER_TOKEN_FILE"),
        ("NEXTVEC_PROMETHEUS_URL", "NEXTVEC_ROLLOUT__PROMETHEUS_URL"),
        ("nextvec_stabel", "NEXTVEC_STABLE"),
        ("NEXTVEC_CONFG", "NEXTVEC_CONFIG"),
        ("NEXTVEC_TOKN", "NEXTVEC_TOKEN"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_nearest_name(name, meant):
    (problem,) = problems({name: "x"})
    assert problem == f"{name} is not a setting; did you mean {meant}?"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('stabel = "x"', "stabel is not a setting; did you mean stable?"),
        ("[engine]\nmaxbatch = 3", "engine.maxbatch is not a setting; did you mean engine.max_ba"),
        ("engine_device = 'cpu'", "engine_device is not a setting; did you mean engine.device?"),
        ("[engin]\ndevice = 'cpu'", "engin is not a setting; did you mean engine?"),
        ("engine = 3", "engine is a table: write [engine]"),
        ("port = true", "port is true, which is not its type"),
        ("host = ' '", "host is blank"),
        ("port = ", "not TOML"),
        ("a = " + "[" * 5000, "not TOML"),
        ("[admin]\nviewer_token_file = ''", "admin.viewer_token_file must be the path of a file"),
    ],
)
def test_a_fault_of_the_file_names_file_and_key(write, text, expected):
    file = write(text)
    (problem,) = problems(config=file)
    assert problem.startswith(f"{file}: {expected}")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    assert problems(config=tmp_path / "no.toml") == [
        f"cannot read the configuration {tmp_path / 'no.toml'}: No such file or directory"
    ]
    (problem,) = problems(config=tmp_path)
    assert "Is a directory" in problem


def test_a_mount_without_its_file_is_an_error(tmp_path):
    """Docker makes a directory of it; the link of a volume that is lost leads nowhere."""
    default = tmp_path / "nextvec.toml"
    default.mkdir()
    assert ["cannot read the configuration nextvec.toml: Is a directory"] == problems()
    default.rmdir()
    default.symlink_to("nowhere")
    assert ["cannot read the configuration nextvec.toml: No such file or directory"] == problems()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("NEXTVEC_LIMITS__TIMEOUT_SECONDS", "inf", "limits.timeout_seconds = 'inf'"),
        ("NEXTVEC_LIMITS__TIMEOUT_SECONDS", "nan", "limits.timeout_seconds = 'nan'"),
        ("NEXTVEC_LIMITS__TIMEOUT_SECONDS", "10s", "a number of seconds without a unit"),
        ("NEXTVEC_SESSIONS__MAX_BYTES", "1GiB", "a number of bytes without a unit"),
        ("NEXTVEC_SESSIONS__MAX_BYTES", "9" * 5000, "sessions.max_bytes"),
        ("NEXTVEC_PORT", "http", "port = 'http'"),
        ("NEXTVEC_PORT", "99999", "less than or equal to 65535"),
        ("NEXTVEC_ENGINE__DEVICE", "tpu", "'auto', 'cuda' or 'cpu'"),
        ("NEXTVEC_ENGINE__CUDA_GRAPHS", "maybe", "engine.cuda_graphs = 'maybe'"),
        ("NEXTVEC_HOST", "http://a.example", "host = 'http://a.example'"),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", "[", "must be valid JSON"),
        ("NEXTVEC_ROLLOUT__WEBHOOKS", '[{"urll": "x"}]', "did you mean url?"),
    ],
)
def test_a_wrong_value_names_variable_and_range(name, value, expected):
    found = "\n".join(problems({name: value}))
    assert name in found
    assert expected in found
    assert len(found) < 600


def test_every_fault_is_reported_at_once(write):
    file = write('stabel = "x"\nport = -1\n')
    assert 4 == len(problems({"NEXTVEC_FOO": "1", "NEXTVEC_ENGINE__MAX_BATCH": "0"}, config=file))


def test_a_blank_variable_counts_as_unset_with_a_warning():
    loaded = load_settings({"NEXTVEC_HOST": "", "NEXTVEC_CANARY": "  ", "NEXTVEC_PORT": "\t"})
    assert ("127.0.0.1", None, 8080) == (
        loaded.settings.host,
        loaded.settings.canary,
        loaded.settings.port,
    )
    assert {} == loaded.sources
    assert loaded.warnings == tuple(
        f"NEXTVEC_{name} is blank and counts as unset" for name in ("CANARY", "HOST", "PORT")
    )


@pytest.mark.parametrize("info", catalog(), ids=lambda info: info.key)
def test_no_blank_variable_changes_a_setting_in_silence(info):
    """It counts as unset, is refused by name, or is a documented value of its own."""
    for blank in ("", " ", "\n"):
        if info.is_secret:
            (problem,) = problems({info.variable: blank})
            assert problem.startswith(f"{info.variable} is blank")
            continue
        loaded = load_settings({info.variable: blank})
        if info.may_be_blank:
            assert "empty" in info.field.description
        else:
            assert value_of(loaded.settings, info) == info.field.default
            assert info.variable in loaded.warnings[0]


def test_a_blank_option_is_refused():
    assert problems(options={"host": ""}) == ["--host is blank: give it a value, or leave it out"]


def test_variables_of_kubernetes_services_are_ignored_with_a_warning():
    services = {
        "NEXTVEC_PORT": "tcp://10.0.0.1:8080",
        "NEXTVEC_SERVICE_HOST": "10.0.0.1",
        "NEXTVEC_SERVICE_PORT": "8080",
        "NEXTVEC_SERVICE_PORT_HTTP": "8080",
        "NEXTVEC_PORT_8080_TCP": "tcp://10.0.0.1:8080",
        "NEXTVEC_PORT_8080_TCP_PROTO": "tcp",
        "NEXTVEC_PORT_8080_TCP_PORT": "8080",
        "NEXTVEC_PORT_8080_TCP_ADDR": "10.0.0.1",
        # A second Service, called nextvec-canary.
        "NEXTVEC_CANARY_SERVICE_HOST": "fd00::1",
        "NEXTVEC_CANARY_PORT": "tcp://[fd00::1]:8080",
        "NEXTVEC_CANARY_PORT_8080_TCP": "tcp://[fd00::1]:8080",
    }
    loaded = load_settings(services)
    assert ({}, 8080) == (loaded.sources, loaded.settings.port)
    (warning,) = loaded.warnings
    assert "enableServiceLinks: false" in warning
    assert all(name in warning for name in services)


@pytest.mark.parametrize(
    "variable",
    [
        "NEXTVEC_ADMIN__OIDC__ISSUER",
        "NEXTVEC_ADMIN__OIDC__JWKS_URL",
        "NEXTVEC_CONSOLE__GRAFANA_URL",
        "NEXTVEC_CONSOLE__RUNBOOK_URL",
        "NEXTVEC_HTTP__CORS_ORIGINS",
        "NEXTVEC_ROLLOUT__PROMETHEUS_URL",
        "NEXTVEC_ROLLOUT__URL",
        "NEXTVEC_SESSIONS__URL",
        "NEXTVEC_TRACING__ENDPOINT",
        "NEXTVEC_PORT",
    ],
)
@pytest.mark.parametrize("password", [SECRET, f"a/{SECRET}", f"a@{SECRET}"])
def test_no_error_shows_the_password_of_an_address(variable, password):
    """Not even where an address has none, or where the setting is no address."""
    (problem,) = problems({variable: f"http://user:{password}@host:99999/x y"})
    assert variable in problem
    assert SECRET not in problem


@pytest.mark.parametrize("workers", ["0", "65", "two"])
def test_a_setting_of_two_types_has_one_error(workers):
    """In the setting's own name, not in those of the types that were tried."""
    (problem,) = problems({"NEXTVEC_HTTP__WORKERS": workers})
    source = "environment (NEXTVEC_HTTP__WORKERS)"
    assert problem.startswith(f"http.workers = '{workers}' from {source}: should be ")
    assert problem.endswith(" or should be 'auto'")


def test_a_port_that_is_no_service_variable_is_refused():
    (problem,) = problems({"NEXTVEC_PORT": "8080/tcp"})
    assert "NEXTVEC_PORT" in problem


def test_two_spellings_of_one_variable_are_refused():
    (problem,) = problems({"NEXTVEC_STABLE": "a", "nextvec_stable": "b"})
    assert "are the same setting" in problem


def test_a_secret_is_read_from_a_file(write):
    token = write(SECRET, "token")
    loaded = load_settings({"NEXTVEC_ADMIN__VIEWER_TOKEN_FILE": str(token)})
    assert SECRET == loaded.settings.admin.viewer_token.get_secret_value()
    assert () == loaded.warnings
    source = loaded.sources["admin.viewer_token"]
    assert source == f"file {token} (NEXTVEC_ADMIN__VIEWER_TOKEN_FILE)"


@pytest.mark.parametrize("content", [f"{SECRET}\n", f"  {SECRET}\r\n", f"\ufeff{SECRET}\n\n"])
def test_white_space_around_a_secret_of_a_file_is_ignored_with_a_warning(write, content):
    token = write(content, "token")
    file = write(f'[admin]\noperator_token_file = "{token}"\n')
    loaded = load_settings({}, config=file)
    assert SECRET == loaded.settings.admin.operator_token.get_secret_value()
    (warning,) = loaded.warnings
    assert str(token) in warning
    assert SECRET not in warning


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is blank"),
        (b" \n", "is blank"),
        (b"\xff\xfe\x00", "is not UTF-8"),
        (b"a" * 70_000, "more than"),
        (b"two words and more of them", "without blanks"),
        ("schlüssel-schlüssel".encode(), "visible ASCII"),
        (b"short", "16 to 4096 characters"),
    ],
)
def test_a_wrong_secret_of_a_file_is_refused_by_name(tmp_path, content, expected):
    token = tmp_path / "token"
    token.write_bytes(content)
    (problem,) = problems({"NEXTVEC_ADMIN__VIEWER_TOKEN_FILE": str(token)})
    assert "NEXTVEC_ADMIN__VIEWER_TOKEN_FILE" in problem
    assert str(token) in problem
    assert expected in problem
    assert content.decode("utf-8", "replace") not in problem or not content.strip()


@pytest.mark.parametrize("value", [f"{SECRET}\n", f" {SECRET}", f"{SECRET}é", "short"])
def test_a_token_that_nobody_can_send_is_refused_and_not_shown(value):
    (problem,) = problems({"NEXTVEC_ADMIN__VIEWER_TOKEN": value})
    assert "NEXTVEC_ADMIN__VIEWER_TOKEN" in problem
    assert value.strip() not in problem


def test_a_secret_and_its_file_are_not_both_set(write):
    token = write(SECRET, "token")
    (problem,) = problems(
        {
            "NEXTVEC_ADMIN__VIEWER_TOKEN": SECRET,
            "NEXTVEC_ADMIN__VIEWER_TOKEN_FILE": str(token),
        }
    )
    assert "are both set" in problem
    for order in ("viewer_token = 'x'\nviewer_token_file = 'y'", "viewer_token_file = '{token}'"):
        text = order.format(token=token)
        if "= 'y'" not in text:
            text += f"\nviewer_token = '{SECRET}'"
        assert any("both set" in each for each in problems(config=write(f"[admin]\n{text}")))


def test_secrets_of_a_list_are_read_from_files(write):
    secret = write(SECRET, "secret")
    hooks = [{"url": "https://a.example/x", "secret_file": str(secret)}]
    loaded = load_settings({"NEXTVEC_ROLLOUT__WEBHOOKS": json.dumps(hooks)})
    assert SECRET.encode() == loaded.settings.rollout.webhooks[0].key
    whole = write(json.dumps(hooks), "hooks.json")
    loaded = load_settings({"NEXTVEC_ROLLOUT__WEBHOOKS_FILE": str(whole)})
    assert SECRET.encode() == loaded.settings.rollout.webhooks[0].key
    both = [{"url": "https://a.example/x", "secret": SECRET, "secret_file": str(secret)}]
    (problem,) = problems({"NEXTVEC_ROLLOUT__WEBHOOKS": json.dumps(both)})
    assert "NEXTVEC_ROLLOUT__WEBHOOKS[0]: set either secret or secret_file" == problem


def test_no_secret_is_shown():
    environ = {
        "NEXTVEC_ADMIN__VIEWER_TOKEN": SECRET,
        "NEXTVEC_ROLLOUT__PROMETHEUS_URL": f"http://user:{SECRET}@prometheus:9090",
        "NEXTVEC_ROLLOUT__WEBHOOKS": json.dumps(
            [{"url": f"https://a.example/{SECRET}", "secret": SECRET}]
        ),
    }
    loaded = load_settings(environ)
    text = json.dumps([mask_secrets(value_of(loaded.settings, info)) for info in catalog()])
    assert SECRET not in text
    assert "http://prometheus:9090" in text
    assert SECRET not in str(loaded)


def test_the_variables_of_commands_are_known():
    """A variable that a client's command reads is no misspelt setting of the service."""
    read = {
        name for module in modules() for name in re.findall(r'envvar="(NEXTVEC_\w+)"', text(module))
    }
    assert read
    assert read <= OTHER_VARIABLES
    assert () == load_settings(dict.fromkeys(OTHER_VARIABLES - {"NEXTVEC_CONFIG"}, "x")).warnings


PAGES = ["docs/how-to/control-access.md", "docs/reference/settings.md"]
BLOCKS = [
    block
    for page in PAGES
    for block in re.findall(r"^```toml\n(.*?)^```", text(Path(page)), re.MULTILINE | re.DOTALL)
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_documented_file_is_valid(write, tmp_path, block):
    """With the secrets that it names, and those of no other holder."""
    for i, path in enumerate(re.findall(r'_file = "([^"]+)"', block)):
        write(f"a-secret-of-the-tests-{i}", f"secret-{i}")
        block = block.replace(path, str(tmp_path / f"secret-{i}"))
    loaded = load_settings({}, config=write(block))
    assert loaded.sources
    assert () == loaded.warnings


def test_there_are_documented_files():
    assert len(BLOCKS) >= 6
