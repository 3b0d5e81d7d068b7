"""`nextvec serve --http-workers N`: HTTP in processes of its own, before one engine process.

| module | has |
|---|---|
| `supervisor`, `restarts` | the parent: it starts the processes and replaces those that end |
| `engine_process`, `calls` | the process with sessions, engines and rollout; it runs the calls |
| `worker_process`, `link`, `remote_predictor` | a process that answers HTTP and sends calls |
| `passthrough`, `door` | HTTP requests that a worker hands to the engine process whole |
| `frames`, `messages`, `group_messages`, `failures` | what travels between them, without I/O |
| `arena` | shared memory for the vectors of large requests |
"""
