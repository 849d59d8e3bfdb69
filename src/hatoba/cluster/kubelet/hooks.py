"""Lifecycle hooks: `preStop` before a container is told to end."""

import asyncio

from hatoba.cluster.kubelet.probes import ProbeFailed, Target, probe_once
from hatoba.kernel.json import JsonObject


async def run_hook(hook: JsonObject, target: Target, *, seconds: float) -> str:
    """Run a hook; return why it failed, or nothing."""
    if sleep := hook.get("sleep"):
        await asyncio.sleep(min(float(sleep["seconds"]), seconds))
        return ""
    try:
        await probe_once(hook, target, seconds=seconds)
    except ProbeFailed as failure:
        return str(failure)
    return ""
