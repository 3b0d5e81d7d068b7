"""The Python client against the real server: under kills, through a rollout, and from its guide."""

from __future__ import annotations

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import numpy as np
import pytest

import nextvec
from service.inference.engines.onnx_engine import OnnxEngine
from service.inference.repository import Repository
from tests.support.fakes import unit_vectors
from tests.support.ports import free_port
from tests.support.serving import TOKEN, WINDOWS
from tests.support.sources import ROOT

VECTORS = unit_vectors(60, dim=768)
API_KEY = "the-key-of-the-guide"
MARGIN = 1e-5
"""A session within and past its window equals a recomputation to this."""


@pytest.fixture(scope="module")
def graph(models):
    """Predicts from the exported graph itself: the last window of a context, in one pass."""
    files = Repository(models, "next-vector").open("phase-2")
    engine = OnnxEngine(files.graph, files.manifest.dimensions)
    sizes = files.manifest.dimensions

    def predict(context):
        read = np.ascontiguousarray(context[-WINDOWS["phase-2"] :, None])
        cold = np.zeros((sizes.layers, 1, sizes.hidden), np.float32)
        return engine.run(read, np.array([len(read)], np.int32), cold)[0][0]

    return predict


def client_of(server, **options):
    return nextvec.Client(str(server.client.base_url), token=TOKEN, **options)


def append_all(address, found):
    """Append every vector to one session, and keep the predictions."""
    with nextvec.Client(address, deadline=120, max_retries=100) as client:
        session = client.session("one")
        for vector in VECTORS:
            found.append(session.append(vector))


def step_all(address, found):
    """Take steps of three sessions at once; session n begins with vector n."""
    with nextvec.Client(address, deadline=120, max_retries=100) as client:
        sessions = [client.session(f"s{number}") for number in range(3)]
        for begin in range(50):
            found.append([r.unwrap() for r in client.steps(sessions, VECTORS[begin : begin + 3])])


def test_no_vector_is_lost_or_doubled_while_the_service_is_killed(serve, graph):
    """Two kills: one program appends to a session, another takes steps of several at once."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    appended, stepped = [], []
    with ThreadPoolExecutor() as pool, ExitStack() as servers:
        server = servers.enter_context(serve(port=port))
        programs = [
            pool.submit(append_all, address, appended),
            pool.submit(step_all, address, stepped),
        ]
        for count in (5, 30):
            wait_until(lambda count=count: min(len(appended), len(stepped)) >= count, programs)
            server.kill()
            server = servers.enter_context(serve(port=port))
        for program in programs:
            program.result(120)
    assert [*range(1, 61)] == [prediction.length for prediction in appended]
    for number, prediction in enumerate(appended, 1):
        np.testing.assert_allclose(graph(VECTORS[:number]), prediction.vector, atol=MARGIN)
    for number, vectors in enumerate(stepped, 1):
        for first, vector in enumerate(vectors):
            expected = graph(VECTORS[first : first + number])
            np.testing.assert_allclose(expected, vector, atol=MARGIN)


def wait_until(condition, programs, seconds=60):
    """Wait, unless a program has failed."""
    deadline = time.monotonic() + seconds
    while not condition():
        for program in programs:
            if program.done():
                program.result()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_predictions_are_those_of_the_graph(server, graph):
    with client_of(server) as client:
        prediction = client.predict(VECTORS[:30], key="ada")
        assert client.is_ready()
        assert client.feedback(prediction, VECTORS[30])
        assert not client.feedback(prediction, VECTORS[30])
    np.testing.assert_allclose(graph(VECTORS[:30]), prediction.vector, atol=MARGIN)
    assert ("stable", "phase-2") == (prediction.variant, prediction.version)
    assert prediction.timing.inference_ms > 0


async def test_the_asynchronous_client_predicts_the_same(server, graph):
    async with nextvec.AsyncClient(str(server.client.base_url)) as client:
        session = client.session()
        await session.append(VECTORS[:3])
        prediction = await session.append(VECTORS[3])
        (result,) = await client.steps([session], VECTORS[4:5])
        await session.delete()
    np.testing.assert_allclose(graph(VECTORS[:4]), prediction.vector, atol=MARGIN)
    np.testing.assert_allclose(graph(VECTORS[:5]), result.unwrap(), atol=MARGIN)


def test_a_session_that_another_client_deleted_goes_on(server, graph):
    with client_of(server) as client:
        session = client.session("deleted")
        session.append(VECTORS[:25])
        client.session("deleted", position=25).delete()
        prediction = session.append(VECTORS[25])
    np.testing.assert_allclose(graph(VECTORS[:26]), prediction.vector, atol=MARGIN)


@pytest.mark.parametrize(
    ("call", "kind", "code"),
    [
        (lambda client: client.predict(VECTORS[:, :5]), nextvec.MalformedRequestError, "malformed"),
        (lambda client: client.predict(VECTORS * np.inf), nextvec.InvalidRequestError, "invalid"),
        (lambda client: client.session("none").info(), nextvec.NotFoundError, "session_not_found"),
        (lambda client: client.feedback("nobody", VECTORS[0]), nextvec.NotFoundError, None),
        (lambda client: client.rollout.start("phase-9"), nextvec.StatusError, None),
        (lambda client: client.rollout.promote(), nextvec.IllegalVerbError, "conflict"),
        (
            lambda client: client.rollout.promote(generation=999),
            nextvec.StaleGenerationError,
            "precondition_failed",
        ),
    ],
)
def test_a_refusal_has_its_class_and_the_request_of_the_log(server, call, kind, code):
    with client_of(server) as client, pytest.raises(kind) as raised:
        call(client)
    assert raised.value.request_id
    assert code in {None, raised.value.code}


def test_the_status_of_the_service_is_read_whole(server):
    """Its document has what the typed status names."""
    with client_of(server) as client:
        status = client.rollout.status()
        preview = client.rollout.start("phase-3", dry_run=True)
    assert ("Healthy", "idle", "none") == (status.phase, status.outlook, status.next.action)
    assert "phase-2" in status.headline
    assert (True, "Pending") == (preview.dry_run, preview.transitions[0].target)
    assert preview.transitions[0].actor == "approver"


def test_a_wrong_token_is_refused(server):
    address = str(server.client.base_url)
    with nextvec.Client(address, token="wrong") as client:
        with pytest.raises(nextvec.AuthenticationError):
            client.rollout.status()
        assert "wrong" not in repr(client)


def test_the_programs_of_the_guide_work(serve, monkeypatch):
    """They run as they stand, one after the other, in one namespace; the service wants a key."""
    guide = (ROOT / "docs/how-to/python-client.md").read_text(encoding="utf-8")
    programs = re.findall(r"^```python\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    assert len(programs) >= 8
    namespace = {}
    monkeypatch.setenv("NEXTVEC_API_KEY", API_KEY)
    keys = json.dumps([{"name": "guide", "key": API_KEY}])
    with (
        serve("--canary", "phase-3", NEXTVEC_CALLERS__KEYS=keys) as server,
        ThreadPoolExecutor() as pool,
    ):
        monkeypatch.setenv("NEXTVEC_URL", str(server.client.base_url))
        monkeypatch.setenv("NEXTVEC_TOKEN", TOKEN)
        for program in programs:
            # In a thread without an event loop, as in a program of its own.
            pool.submit(exec, program, namespace).result(60)
    assert ["RolledBack", 5, 31] == [
        namespace["status"].phase,
        len(namespace["predictions"]),
        namespace["session"].length,
    ]
