"""A fuzzer for a running server: requests of the schema, mutated bytes, and odd tensors."""
