import asyncio
import contextlib

import httpx2
import pytest

from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import Unavailable
from hatoba.operator.kubernetes import Apart, Spread
from hatoba.operator.runtime.controller import Controller, Outcome
from hatoba.operator.runtime.election import DURATION_SECONDS, LEASE_NAME, Election
from hatoba.operator.runtime.queue import WorkQueue

pytestmark = [pytest.mark.api, pytest.mark.anyio]

KEY = ("namespace", "name")
OTHER = ("namespace", "other")


@pytest.fixture
def queue():
    found = WorkQueue()
    yield found
    found.close()


async def test_a_key_waits_once_however_often_it_is_added(queue):
    for _ in range(3):
        queue.add(KEY)
    assert queue.depth == 1


async def test_a_key_added_while_active_comes_again_and_never_twice_at_once(queue):
    queue.add(KEY)
    await queue.get()
    queue.add(KEY)
    queue.add(KEY)
    assert queue.depth == 0
    queue.done(KEY)
    assert queue.depth == 1


async def test_retries_take_longer_each_time_until_forgotten(queue):
    delays = [queue.retry(KEY) for _ in range(12)]
    assert delays[0] < 0.2 < delays[3] < delays[8]
    assert max(delays) <= 72
    queue.forget(KEY)
    assert queue.retry(KEY) < 0.2


async def test_an_earlier_appointment_stands(queue):
    queue.add_after(KEY, 0.0)
    queue.add_after(KEY, 3600)
    async with asyncio.timeout(1):
        assert await queue.get() == KEY


async def run(queue, work, *, until):
    controller = Controller(work, queue=queue, clock=SystemClock())
    running = asyncio.create_task(controller.run())
    async with asyncio.timeout(5):
        await until.wait()
        controller.stop()
        await running


async def test_a_failing_key_is_retried_and_harms_no_other(queue):
    seen, done = [], asyncio.Event()

    async def work(key):
        seen.append(key)
        if key == KEY and seen.count(KEY) == 1:
            raise Unavailable("not now")
        if key == KEY and seen.count(KEY) == 2:
            raise RuntimeError("a fault")
        if seen.count(KEY) == 3:
            done.set()
        return Outcome()

    queue.add(KEY)
    queue.add(OTHER)
    await run(queue, work, until=done)
    assert seen.count(OTHER) == 1


async def test_a_pass_that_runs_is_finished_when_stopping(queue):
    started, finish, finished = asyncio.Event(), asyncio.Event(), []

    async def work(key):
        started.set()
        await finish.wait()
        finished.append(key)
        return Outcome()

    queue.add(KEY)
    controller = Controller(work, queue=queue, clock=SystemClock())
    running = asyncio.create_task(controller.run())
    async with asyncio.timeout(5):
        await started.wait()
        controller.stop()
        finish.set()
        await running
    assert finished == [KEY]


async def test_one_of_two_operators_leads_and_the_other_follows_its_release(world):
    first, second = (
        Election(world.cluster, namespace="hatoba-system", identity=name, clock=SystemClock())
        for name in ("first", "second")
    )
    await first.acquire()
    waiting = asyncio.create_task(second.acquire())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(0.2):
            await asyncio.shield(waiting)
    assert not waiting.done()
    await first.release()
    async with asyncio.timeout(5):
        await waiting
    lease = await world.cluster.get("Lease", LEASE_NAME, namespace="hatoba-system")
    assert lease["spec"]["holderIdentity"] == "second"


async def test_a_restarted_operator_takes_its_own_lease_at_once(world):
    for _ in range(2):
        election = Election(
            world.cluster, namespace="hatoba-system", identity="me", clock=SystemClock()
        )
        # Somebody else would wait until it runs out.
        async with asyncio.timeout(DURATION_SECONDS - 3):
            await election.acquire()


ELSEWHERE = {
    "APIServer",
    "Certificate",
    "ClusterIssuer",
    "Gateway",
    "HTTPRoute",
    "ObjectBucketClaim",
    "TLSRoute",
}
"""Kinds that the cluster of these tests does not have."""


async def test_informers_follow_kinds_that_appear_and_vanish(world):
    await world.create_registry()
    await world.converge()
    for informer in world.operator.informers:
        assert informer.offered == (informer.kind not in ELSEWHERE)


class Line(httpx2.AsyncBaseTransport):
    def __init__(self):
        self.asked, self.is_closed = [], False

    async def handle_async_request(self, request):
        self.asked.append(request.url.path)
        return httpx2.Response(200, request=request)

    async def aclose(self):
        self.is_closed = True


async def test_watches_have_connections_of_their_own():
    requests, watches = Line(), Line()
    async with httpx2.AsyncClient(transport=Apart(requests=requests, watches=watches)) as client:
        await client.get("http://api/list")
        await client.get("http://api/watched", params={"watch": "true"})
        await client.get("http://api/not", params={"watch": "false"})
        await client.patch("http://api/written")
    assert requests.asked == ["/list", "/not", "/written"]
    assert watches.asked == ["/watched"]
    assert requests.is_closed
    assert watches.is_closed


async def test_a_task_keeps_to_one_pool_and_all_are_closed():
    pools = [Line() for _ in range(5)]
    async with httpx2.AsyncClient(transport=Spread(pools)) as client:
        for _ in range(3):
            await client.get("http://api/list")
    assert sorted(len(pool.asked) for pool in pools) == [0, 0, 0, 0, 3]
    assert all(pool.is_closed for pool in pools)
