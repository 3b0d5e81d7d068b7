"""`/openapi.json`: every operation is described, with examples, errors and security.

The examples are sent to a service and its answers are compared with the examples, so that they
stay true. The service of the tests has vectors of four numbers, as the examples have.
"""

from __future__ import annotations

import jsonschema_rs
import pytest

from service.api.openapi.document import SCHEMES, TAGS
from tests.support.fakes import TOKENS

ADMIN = "/admin/v1/rollout"
INFER = "/v2/models/next-vector/infer"
APPROVER = {"Authorization": "Bearer " + TOKENS["approver"]}


@pytest.fixture
async def document(service):
    return (await service.client.get("/openapi.json")).json()


def operations(document):
    """`(name, path, operation)` of everything that the service does."""
    return [
        (f"{method.upper()} {path}", path, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def lacking(document, has):
    """The names of the operations for which `has` is false."""
    return [name for name, _, operation in operations(document) if not has(operation)]


def contents(part):
    return part.get("content", {}).values()


def with_examples(part):
    """Whether a body or a response has an example in one of its media types, or no content."""
    return not contents(part) or any(content.get("examples") for content in contents(part))


async def test_every_operation_has_a_summary_of_its_own_and_a_description(document):
    assert [] == lacking(document, lambda each: each.get("summary") and each.get("description"))
    summaries = [operation["summary"] for _, _, operation in operations(document)]
    assert len(summaries) == len(set(summaries)) > 30


async def test_every_body_and_every_response_has_a_description_and_an_example(document):
    def has(operation):
        body = operation.get("requestBody", {})
        schema = body.get("content", {}).get("application/json", {}).get("schema", {})
        for part in schema.get("anyOf") or [schema]:
            name = part.get("$ref", "").removeprefix("#/components/schemas/")
            if name and document["components"]["schemas"][name].get("examples"):
                body = {}
        return with_examples(body) and all(
            response["description"] and with_examples(response)
            for response in operation["responses"].values()
        )

    assert [] == lacking(document, has)


async def test_every_example_is_valid_by_its_schema(document):
    """Those of bodies and of responses; a schema without constraints accepts anything."""
    components, wrong, checked = document["components"], [], 0
    for name, _, operation in operations(document):
        parts = {"body": operation.get("requestBody", {}), **operation["responses"]}
        for part, media in ((part, m) for part, has in parts.items() for m in contents(has)):
            for title, shown in media.get("examples", {}).items():
                key = shown.get("$ref", "").removeprefix("#/components/examples/")
                value = (components["examples"][key] if key else shown).get("value")
                if value is None or isinstance(value, str):
                    continue  # a picture of bytes, or of a stream of events
                schema = {**media.get("schema", {}), "components": components}
                checked += 1
                if not jsonschema_rs.is_valid(schema, value):
                    wrong.append(f"{name} {part} {title}")
    assert [] == wrong
    assert checked > 100


async def test_every_operation_names_its_errors_one_by_one(document):
    """With an example a code, not as 4XX and 5XX."""

    def has(operation):
        errors = {status: r for status, r in operation["responses"].items() if status >= "400"}
        examples = {
            status: response["content"]["application/json"]["examples"]
            for status, response in errors.items()
        }
        coded = all(
            code == shown["value"].get("code", code)
            for each in examples.values()
            for code, shown in each.items()
        )
        return {"400", "422", "500"} <= set(errors) and coded and not {"4XX", "5XX"} & set(errors)

    assert [] == lacking(document, has)


async def test_every_operation_says_who_may_call_it(document):
    assert set(SCHEMES) == set(document["components"]["securitySchemes"])
    for name, path, operation in operations(document):
        admin = path.startswith(("/admin", "/v2/repository"))
        assert admin == (operation["security"] == [{"adminToken": []}]), name
        assert admin == ("401" in operation["responses"] and "403" in operation["responses"]), name


async def test_every_tag_is_described(document):
    used = {tag for _, _, operation in operations(document) for tag in operation["tags"]}
    assert used == {tag["name"] for tag in TAGS}


def example(document, path, method="post", status=None, media_type="application/json"):
    """The first example of a body, or of the response with `status`."""
    operation = document["paths"][path][method]
    part = operation["requestBody"] if status is None else operation["responses"][str(status)]
    first = next(iter(part["content"][media_type]["examples"].values()))
    name = first.get("$ref", "").removeprefix("#/components/examples/")
    return (document["components"]["examples"][name] if name else first)["value"]


def same_form(expected, found):
    """Whether two JSON values have the same keys and types, at every depth."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return expected.keys() == found.keys() and all(
            same_form(expected[key], found[key]) for key in expected
        )
    if isinstance(expected, list) and isinstance(found, list):
        return all(same_form(e, f) for e, f in zip(expected, found, strict=False))
    number = (int, float)
    return type(expected) is type(found) or (
        isinstance(expected, number) and isinstance(found, number)
    )


PREDICTIONS = [
    ("/v1/predict", "/v1/predict"),
    ("/v1/sessions/{session_id}/vectors", "/v1/sessions/ada/vectors"),
    ("/v1/steps", "/v1/steps"),
    ("/v2/models/{model}/infer", INFER),
]


@pytest.mark.parametrize(("path", "url"), PREDICTIONS)
async def test_an_example_of_a_prediction_is_answered_as_the_document_says(
    service, document, path, url
):
    answer = await service.client.post(url, json=example(document, path))
    assert 200 == answer.status_code, answer.text
    expected = example(document, path, status=200)
    assert same_form(expected, answer.json()), answer.text
    media = document["paths"][path]["post"]["responses"]["200"]["content"]["application/json"]
    jsonschema_rs.validate(media["schema"], answer.json())


async def test_the_example_of_a_label_is_answered_as_the_document_says(service, document):
    label = example(document, "/v1/feedback")
    await service.client.post(
        "/v1/predict",
        json=example(document, "/v1/predict"),
        headers={"X-Request-Id": label["request_id"]},
    )
    answer = await service.client.post("/v1/feedback", json=label)
    assert example(document, "/v1/feedback", status=202) == answer.json()


READS = [
    ("/", "/"),
    ("/v1/sessions/{session_id}", "/v1/sessions/ada"),
    ("/v2", "/v2"),
    ("/v2/models", "/v2/models"),
    ("/v2/models/stats", "/v2/models/stats"),
    ("/v2/models/{model}", "/v2/models/next-vector"),
    ("/v2/models/{model}/config", "/v2/models/next-vector/config"),
    ("/v2/models/{model}/ready", "/v2/models/next-vector/ready"),
    ("/v2/health/live", "/v2/health/live"),
    ("/v2/health/ready", "/v2/health/ready"),
]


@pytest.mark.parametrize(("path", "url"), READS)
async def test_an_answer_has_the_form_of_its_example(service, document, path, url):
    path_of_append = "/v1/sessions/{session_id}/vectors"
    await service.client.post("/v1/sessions/ada/vectors", json=example(document, path_of_append))
    found = (await service.client.get(url)).json()
    expected = example(document, path, "get", 200)
    for each in (expected, found):  # the sizes that were timed are the machine's
        for model in each.get("models", []):
            if isinstance(model, dict):
                model.pop("step_precisions", None)
    assert same_form(expected, found), found


async def test_the_status_has_the_fields_that_the_document_describes(service, document):
    """Each field is described, and the example has them all."""
    started = await service.admin("POST", json=example_of_model(document, "StartRequest"))
    assert 202 == started.status_code, started.text
    await service.controller.prepared()
    found = (await service.admin("GET")).json()
    response = document["paths"][ADMIN]["get"]["responses"]["200"]
    schema = response["content"]["application/json"]["schema"]
    assert set(schema["properties"]) == set(schema["required"]) == set(found)
    assert set(found) == set(example(document, ADMIN, "get", 200))
    jsonschema_rs.validate(schema, found)
    rows = (await service.admin("GET", "/history")).json()
    expected = example(document, f"{ADMIN}/history", "get", 200)
    assert set(expected[0]) == set(rows[0])


def example_of_model(document, name):
    return document["components"]["schemas"][name]["examples"][0]


async def test_a_preview_has_the_form_of_its_example(service, document):
    body = example_of_model(document, "StartRequest")
    preview = (await service.admin("POST", "?dryRun=All", json=body)).json()
    assert set(example(document, ADMIN, status=200)) == set(preview)
    assert preview["dry_run"]


async def test_the_examples_of_the_repository_are_accepted(service, document):
    base, client = "/v2/repository", service.client
    index = await client.post(f"{base}/index", json={}, headers=APPROVER)
    assert same_form(example(document, f"{base}/index", status=200), index.json())
    for verb in ("unload", "load"):
        path = f"{base}/models/{{model}}/{verb}"
        url = path.format(model="next-vector")
        answer = await client.post(url, json=example(document, path), headers=APPROVER)
        assert example(document, path, status=200) == answer.json()
