"""The node: what the machine is, as the API shows it."""

import os
import platform
import socket
from pathlib import Path
from typing import Final

from hatoba import __version__
from hatoba.cluster.objects import NODES, Objects
from hatoba.kernel.clock import Clock, rfc3339
from hatoba.kernel.errors import Conflict
from hatoba.kernel.json import JsonObject

_MEMORY_OFFERED: Final = 64 << 30
_CPUS_OFFERED: Final = 16
"""Requests are not enforced on one machine: pods sized for a cluster have to fit a laptop."""
_HEALTHY: Final = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "memory is not watched"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "disks are not watched"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "processes are not counted"),
    ("Ready", "True", "KubeletReady", "pods are started as local processes"),
)


def node_name() -> str:
    """Return the machine's name as a valid object name."""
    text = socket.gethostname().lower()
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in text)
    return name.strip("-")[:63].strip("-") or "localhost"


def capacity() -> dict[str, str]:
    """Return what the machine has."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{memory // 1024}Ki",
        "ephemeral-storage": "107374182400",
        "pods": "110",
    }


def allocatable() -> dict[str, str]:
    """Return what pods may ask for, more than the machine has: requests are sizes, not needs."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return capacity() | {
        "cpu": str(max(os.cpu_count() or 1, _CPUS_OFFERED)),
        "memory": f"{max(memory, _MEMORY_OFFERED) // 1024}Ki",
    }


def describe_node(name: str, *, address: str, now: str) -> JsonObject:
    """Return the Node object with its status."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    release = _os_name()
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "labels": {
                "kubernetes.io/arch": machine,
                "kubernetes.io/os": "linux",
                "kubernetes.io/hostname": name,
                "node-role.kubernetes.io/control-plane": "",
            },
            "annotations": {
                "hatoba.dev/limits": "requests and limits of resources are not enforced",
            },
        },
        "spec": {},
        "status": {
            "capacity": capacity(),
            "allocatable": allocatable(),
            "addresses": [
                {"type": "InternalIP", "address": address},
                {"type": "Hostname", "address": name},
            ],
            "conditions": [
                {
                    "type": kind,
                    "status": status,
                    "reason": reason,
                    "message": message,
                    "lastHeartbeatTime": now,
                    "lastTransitionTime": now,
                }
                for kind, status, reason, message in _HEALTHY
            ],
            "nodeInfo": {
                "architecture": machine,
                "operatingSystem": "linux",
                "osImage": f"{release} (processes of Hatoba's embedded cluster)",
                "kernelVersion": platform.release(),
                "kubeletVersion": f"v1.32.0+hatoba-{__version__}",
                "kubeProxyVersion": "",
                "containerRuntimeVersion": f"hatoba://{__version__}",
                "bootID": _first_line("/proc/sys/kernel/random/boot_id"),
                "machineID": _first_line("/etc/machine-id"),
                "systemUUID": "",
            },
        },
    }


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


async def register_node(objects: Objects, name: str, *, address: str, clock: Clock) -> None:
    """Create the Node, or bring its status up to date."""
    node = describe_node(name, address=address, now=rfc3339(clock.now()))
    try:
        made = await objects.create(NODES, node, manager="kubelet")
    except Conflict:
        made = await objects.get(NODES, name, None)
    status = {**made, "status": node["status"]}
    await objects.update(NODES, status, manager="kubelet", subresource="status")
