"""Sessions in a Redis or Valkey server that all replicas of a fleet share.

Read in this order:

1. `held_session`: a session in this process's memory, and its claim on the stored one.
2. `claim`: what the server answers to a claim, and what becomes of the copy in memory.
3. `checkpoint`: the form of stored states.
4. `session_calls`: one method a function of the server (`service/redis/functions.lua`).
5. `backlog`: vectors that are answered and not stored yet.
6. `append_write`: one append on its way, beside the engine.
7. `store`: the adapter.

The rules are in docs/explanation/sessions-in-a-fleet.md.
"""
