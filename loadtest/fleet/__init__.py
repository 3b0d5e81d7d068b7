"""A fleet on this machine: replicas, load balancer, stores, and the drill that kills them.

| module | has |
|---|---|
| `programs` | where Envoy, Redis, PostgreSQL and Prometheus are on this machine |
| `process` | one process of a fleet: start, kill, suspend |
| `balancer` | Envoy's configuration, for this machine, for compose and for Kubernetes |
| `layout` | ports, folders and credentials of one fleet |
| `stores` | Redis, PostgreSQL and Prometheus as processes |
| `fleet` | the whole fleet: start, look at, stop |
| `sizing` | how many of each a load needs, by arithmetic |
| `drill` | the proof: sessions with an oracle, faults, a rollout, and the report |
"""
