"""HTTP. `routes` has one router a file, `codecs` the formats of bodies.

Requests arrive through the framework and its middleware (`request_context`,
`body_limits`) or, for predictions, through the server's `fast_path`. Both run the same
handlers (`http_call`). Only `errors` knows which error has which status.
"""
