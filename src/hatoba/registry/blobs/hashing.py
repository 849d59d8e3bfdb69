"""SHA-256 whose state can be put down and taken up by another process.

A chunked upload may continue in any worker. hashlib cannot export its state, OpenSSL's own
functions can: the state is a plain structure of 112 bytes. They are deprecated, so the first
use proves them against hashlib, and the state carries the library's version. Where the proof
fails or the state is foreign, the caller reads the stored bytes again.
"""

import base64
import binascii
import ctypes
import ctypes.util
import hashlib
import platform
import ssl
from functools import cache
from typing import Final

from typing_extensions import override

from hatoba.kernel.digests import Hasher

_STATE_BYTES: Final = 112
_TAG: Final = f"hatoba1;{ssl.OPENSSL_VERSION_NUMBER:x};{platform.machine()};"


class StateForeign(Exception):
    """A stored state that this process cannot continue from."""


class ResumableSha256(Hasher):
    """SHA-256 over libcrypto; `state()` and `from_state()` carry it over."""

    def __init__(self, context: "ctypes.Array[ctypes.c_char]") -> None:
        self._context = context

    @override
    def update(self, data: bytes | memoryview, /) -> None:
        library = _library()
        assert library is not None
        # A memoryview has no address that ctypes takes without a writable buffer; copy it.
        content = bytes(data)
        library.SHA256_Update(self._context, content, len(content))

    @override
    def hexdigest(self) -> str:
        library = _library()
        assert library is not None
        copied = ctypes.create_string_buffer(self._context.raw, _STATE_BYTES)
        result = ctypes.create_string_buffer(32)
        library.SHA256_Final(result, copied)
        return result.raw.hex()

    def state(self) -> str:
        """Return the state as text."""
        return _TAG + base64.b64encode(self._context.raw).decode()


def new_hasher(algorithm: str = "sha256") -> Hasher:
    """Return a fresh hash; SHA-256 is resumable where the platform allows."""
    library = _library()
    if library is None or algorithm != "sha256":
        return hashlib.new(algorithm)
    context = ctypes.create_string_buffer(_STATE_BYTES)
    library.SHA256_Init(context)
    return ResumableSha256(context)


def resume_hasher(state: str | None) -> Hasher:
    """Continue from a state.

    Raises:
        StateForeign: another library or machine wrote it, or it is no state at all.
    """
    if state is None or not state.startswith(_TAG) or _library() is None:
        raise StateForeign
    try:
        raw = base64.b64decode(state.removeprefix(_TAG), validate=True)
    except binascii.Error as error:
        raise StateForeign from error
    if len(raw) != _STATE_BYTES:
        raise StateForeign
    return ResumableSha256(ctypes.create_string_buffer(raw, _STATE_BYTES))


def state_of(hasher: Hasher) -> str | None:
    """Return the state to store, or None where there is none to have."""
    return hasher.state() if isinstance(hasher, ResumableSha256) else None


@cache
def _library() -> ctypes.CDLL | None:
    """Load and prove libcrypto once per process."""
    name = ctypes.util.find_library("crypto") or "libcrypto.so.3"
    try:
        library = ctypes.CDLL(name)
        library.SHA256_Init.argtypes = [ctypes.c_void_p]
        library.SHA256_Update.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
        library.SHA256_Final.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
    except (OSError, AttributeError):
        return None
    return library if _is_proven(library) else None


def _is_proven(library: ctypes.CDLL) -> bool:
    """Hash across a carried-over state and compare with hashlib."""
    sample = bytes(range(256)) * 5
    # A larger buffer than the structure shows an overrun instead of suffering it.
    first = ctypes.create_string_buffer(b"\xa5" * 256, 256)
    library.SHA256_Init(first)
    library.SHA256_Update(first, sample[:77], 77)
    if first.raw[_STATE_BYTES:] != b"\xa5" * (256 - _STATE_BYTES):
        return False
    second = ctypes.create_string_buffer(first.raw[:_STATE_BYTES], _STATE_BYTES)
    library.SHA256_Update(second, sample[77:], len(sample) - 77)
    result = ctypes.create_string_buffer(32)
    library.SHA256_Final(result, second)
    return bool(result.raw == hashlib.sha256(sample).digest())
