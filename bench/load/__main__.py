"""The lean client as a process of its own: a specification comes in, a result goes out."""

import sys

import msgspec

from bench.load.engine import run
from bench.load.spec import LoadSpec

if __name__ == "__main__":
    spec = msgspec.json.decode(sys.stdin.buffer.read(), type=LoadSpec)
    sys.stdout.buffer.write(msgspec.json.encode(run(spec)))
