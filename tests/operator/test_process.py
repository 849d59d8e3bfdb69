"""The operator as a process of its own: `hatoba operator run`."""

import asyncio
import signal
import sys

import aiohttp
import pytest
from tests.operator.conftest import a_kubeconfig
from tests.ports import free_port

from hatoba.operator.names import COMPONENT_ORDER
from hatoba.operator.runtime.election import LEASE_NAME

pytestmark = [pytest.mark.api, pytest.mark.anyio]


async def until(question, *, seconds=20):
    async with asyncio.timeout(seconds):
        while not await question():  # noqa: ASYNC110 -- another process decides
            await asyncio.sleep(0.02)


@pytest.mark.timeout(60)
@pytest.mark.embedded
async def test_it_starts_leads_fills_in_a_spec_and_ends_in_order(world, tmp_path):
    metrics, health, reconfigure = (free_port() for _ in range(3))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hatoba.cli.main",
        "operator",
        "run",
        f"--kubeconfig={a_kubeconfig(tmp_path, world.address)}",
        f"--metrics-addr=127.0.0.1:{metrics}",
        f"--health-addr=127.0.0.1:{health}",
        f"--reconfigure-addr=127.0.0.1:{reconfigure}",
        "--enable-leader-election",
        env={
            "MY_POD_NAMESPACE": "hatoba-system",
            "MY_POD_NAME": "pod-1",
            "HATOBA_BIND": "127.0.0.1",
        },
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with aiohttp.ClientSession() as session:

            async def ready():
                try:
                    async with session.get(f"http://127.0.0.1:{health}/readyz") as answer:
                        return answer.status == 200
                except aiohttp.ClientConnectionError:
                    return False

            await until(ready)
            await world.create_registry()

            async def filled():
                found = (await world.registry()).get("spec", {}).get("components", [])
                return [entry["kind"] for entry in found] == list(COMPONENT_ORDER)

            await until(filled)
            async with session.get(f"http://127.0.0.1:{metrics}/metrics") as answer:
                assert "hatoba_operator_reconcile_total" in await answer.text()
        lease = await world.cluster.get("Lease", LEASE_NAME, namespace="hatoba-system")
        assert lease["spec"]["holderIdentity"] == "pod-1"
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.wait_for(process.communicate(), 20)
        assert process.returncode == 0, log.decode()
        assert "Traceback" not in log.decode()
        lease = await world.cluster.get("Lease", LEASE_NAME, namespace="hatoba-system")
        assert not lease["spec"].get("holderIdentity")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.timeout(60)
async def test_without_a_cluster_it_says_so_and_fails(tmp_path):
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "hatoba.cli.main",
        "operator",
        "run",
        f"--kubeconfig={tmp_path / 'nowhere'}",
        stderr=asyncio.subprocess.PIPE,
    )
    _, log = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 1
    assert "no cluster to talk to" in log.decode()
