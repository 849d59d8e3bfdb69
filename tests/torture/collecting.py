"""Collectors that can be killed: a parent that has imported everything, and children that collect.

Run as a program with a directory of configuration and the number of children. The quarantine is
shorter than any configuration allows, so that bytes go while pushes of the same digests are under
way; a child that was killed is replaced at once.
"""

import asyncio
import contextlib
import os
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from hatoba.config import loader
from hatoba.registry.app import open_services

QUARANTINE = timedelta(milliseconds=100)


async def collect(directory: Path, *, is_endless: bool) -> None:
    """Collect and sweep for ever, or once until nothing is left that may go."""
    async with open_services(loader.load(directory)) as services:
        collector = services.collector
        collector.policy = replace(collector.policy, quarantine=QUARANTINE)
        print(f"collector {os.getpid()} is at work", flush=True)
        while is_endless:
            await collector.collect()
            await collector.sweep(is_complete=True)
        await collector.collect_everything()


def main() -> None:
    """Keep children at work until killed, with the whole process group."""
    directory, count = Path(sys.argv[1]), int(sys.argv[2])
    if count == 0:
        asyncio.run(collect(directory, is_endless=False))
        return
    children: set[int] = set()
    while True:
        while len(children) < count:
            pid = os.fork()
            if pid == 0:
                asyncio.run(collect(directory, is_endless=True))
                os._exit(1)
            children.add(pid)
        ended, status = os.wait()
        children.discard(ended)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            # Only what was killed is replaced: an error of its own has to be seen.
            sys.exit(f"a collector ended by itself: {status}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
