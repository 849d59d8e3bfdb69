"""Kubernetes protobuf request bodies, as kubectl 1.32 and later sends for built-in kinds.

Spec: Kubernetes API concepts, "Kubernetes Protobuf encoding": the magic `k8s\\0` and a
`runtime.Unknown` around the object. Answers are always JSON.
"""

from hatoba.cluster.api.status import BadRequest, UnsupportedMediaType
from hatoba.kernel.json import JsonObject

MAGIC = b"k8s\x00"


def decode_protobuf(data: bytes) -> JsonObject:
    """Decode a body.

    Raises:
        BadRequest: it is not what it claims to be.
        UnsupportedMediaType: the kind inside is not known in this encoding.
    """
    if not data.startswith(MAGIC):
        raise BadRequest("provided data does not appear to be a protobuf message")
    raise UnsupportedMediaType("protobuf bodies are not understood yet")
