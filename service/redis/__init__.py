"""A thin client of Redis and Valkey for a service that makes one short call a request.

Read in this order:

1. `connection`: commands go out in batches, replies come back in order.
2. `client`: one connection that is made again when it is lost, with time limits.
3. `login`: what is said on a new connection.
4. `server_check`: what a server must be like.
5. `library`: the functions in `functions.lua`, which run on the server.
"""
