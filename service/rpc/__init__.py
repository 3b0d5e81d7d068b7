"""The Open Inference Protocol over gRPC, beside HTTP and over the same dispatch.

| module | has |
|---|---|
| `open_inference.proto` | the protocol; `make proto` compiles it into `open_inference.pb` |
| `messages` | its messages as classes |
| `codec` | requests and responses, between messages and arrays |
| `status` | gRPC's status for each error |
| `inference_service` | the methods of the protocol |
| `server` | the server: its port, its limits, health and reflection |
| `lifespan` | the server beside HTTP, if the settings want it |
"""
