"""The compiled protocol is that of the source, and has the numbers of other implementations."""

from __future__ import annotations

from pathlib import Path

import tritonclient.grpc.service_pb2 as triton
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

from service import rpc
from service.rpc import messages

FOLDER = Path(rpc.__file__).parent


def test_the_compiled_protocol_is_the_source(tmp_path):
    """If it fails: make proto."""
    out = tmp_path / "open_inference.pb"
    assert not protoc.main(
        ["", f"-I{FOLDER}", f"--descriptor_set_out={out}", "open_inference.proto"]
    )
    assert descriptor_pb2.FileDescriptorSet.FromString(
        out.read_bytes()
    ) == descriptor_pb2.FileDescriptorSet.FromString((FOLDER / "open_inference.pb").read_bytes())


def fields(descriptor):
    return {
        field.name: (field.number, field.type, field.is_repeated) for field in descriptor.fields
    }


def test_every_message_is_one_that_triton_reads():
    """The same names, numbers and types; Triton's parameters have one more choice of theirs."""
    ours = messages.POOL.FindFileByName("open_inference.proto").message_types_by_name
    theirs = triton.DESCRIPTOR.message_types_by_name
    for name, descriptor in ours.items():
        assert fields(descriptor).items() <= fields(theirs[name]).items(), name
        for nested in descriptor.nested_types:
            other = theirs[name].nested_types_by_name[nested.name]
            assert fields(nested).items() <= fields(other).items(), nested.name
    methods = {
        m.name: m for m in triton.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
    }
    for method in messages.POOL.FindServiceByName(messages.SERVICE).methods:
        assert method.input_type.name == methods[method.name].input_type.name
        assert method.output_type.name == methods[method.name].output_type.name
