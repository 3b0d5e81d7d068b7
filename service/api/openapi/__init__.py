"""What `/openapi.json` and `/docs` say about the routes: schemas, examples, errors, security.

A route imports what describes it and passes it to its decorator. Nothing here runs during a
request. `tests/api/openapi` sends the examples to the service and compares the answers.
"""
