"""The messages of `open_inference.proto` as classes, and the descriptors for reflection.

They live in a pool of descriptors of their own: clients in the same process, such as
tritonclient, register messages of the same names in the default pool.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

from google.protobuf import descriptor_pb2, message_factory
from google.protobuf.descriptor_pool import DescriptorPool

SERVICE = "inference.GRPCInferenceService"


def _read_pool() -> DescriptorPool:
    compiled = descriptor_pb2.FileDescriptorSet.FromString(
        files("service.rpc").joinpath("open_inference.pb").read_bytes()
    )
    pool = DescriptorPool()
    for file in compiled.file:
        pool.Add(file)
    return pool


POOL = _read_pool()


def _message(name: str) -> Any:
    """The class of a message. Its fields are known at run time only."""
    return message_factory.GetMessageClass(POOL.FindMessageTypeByName(f"inference.{name}"))


ModelInferRequest = _message("ModelInferRequest")
ModelInferResponse = _message("ModelInferResponse")
ModelMetadataRequest = _message("ModelMetadataRequest")
ModelMetadataResponse = _message("ModelMetadataResponse")
ModelReadyRequest = _message("ModelReadyRequest")
ModelReadyResponse = _message("ModelReadyResponse")
ModelStreamInferResponse = _message("ModelStreamInferResponse")
ServerLiveRequest = _message("ServerLiveRequest")
ServerLiveResponse = _message("ServerLiveResponse")
ServerMetadataRequest = _message("ServerMetadataRequest")
ServerMetadataResponse = _message("ServerMetadataResponse")
ServerReadyRequest = _message("ServerReadyRequest")
ServerReadyResponse = _message("ServerReadyResponse")
