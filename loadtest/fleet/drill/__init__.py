"""The drill: sessions with an oracle while replicas and stores are killed.

| module | has |
|---|---|
| `transcript` | what one session sent and was told |
| `oracle` | the exported graph, run directly, on the same vectors |
| `record` | what happened during a run |
| `caller` | a caller that appends to one session after the other, and checks each answer |
| `faults`, `injector` | the schedule of faults, and what carries it out |
| `rollout` | a rollout that goes through its steps meanwhile, and its audit log |
| `report`, `picture` | the table, the problems and the plot |
| `run` | all of it together |
"""
