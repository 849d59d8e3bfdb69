"""Queues, caches, events: the frame of all controllers."""

import asyncio
from pathlib import Path
from typing import cast

import pytest
from tests.cluster.controllers.conftest import LoopClock, VirtualLoop, deployment
from typing_extensions import override

from hatoba.cluster.api.assembly import open_api
from hatoba.cluster.api.local import LocalObjects
from hatoba.cluster.api.status import Expired
from hatoba.cluster.controllers.client import Client
from hatoba.cluster.controllers.events import EventSink, Recorder
from hatoba.cluster.controllers.expiry import EventExpiry
from hatoba.cluster.controllers.informer import Informer, Informers
from hatoba.cluster.controllers.queue import WorkQueue
from hatoba.cluster.controllers.runtime import Context, Controller, supervise
from hatoba.cluster.controllers.settings import ControllerSettings
from hatoba.cluster.controllers.values import Key, name_of
from hatoba.cluster.node import Node
from hatoba.cluster.objects import CONFIG_MAPS, DEPLOYMENTS, EVENTS, NAMESPACES
from hatoba.kernel.errors import Unavailable

pytestmark = pytest.mark.anyio
A, B = Key("n", "a"), Key("n", "b")


@pytest.fixture
async def objects():
    api = open_api(None, clock=LoopClock())
    local = LocalObjects(api)
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    await local.create(NAMESPACES, namespace, manager="test")
    yield local
    api.close()


@pytest.fixture
async def informers(objects):
    made = Informers(objects)
    yield made
    await made.close()


def config_map(name="a", **data):
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "n"},
        "data": data,
    }


async def test_a_key_waits_only_once():
    queue = WorkQueue()
    for key in (A, B, A, A):
        queue.add(key)

    assert [await queue.get(), await queue.get()] == [A, B]
    assert queue._waiting == type(queue._waiting)()


async def test_a_key_in_work_comes_back_afterwards():
    queue = WorkQueue()
    queue.add(A)
    await queue.get()
    queue.add(A)
    assert not queue._waiting

    queue.done(A)

    assert await queue.get() == A


async def test_failures_come_back_with_growing_pauses():
    loop, queue, pauses = asyncio.get_running_loop(), WorkQueue(), []
    queue.add(A)
    await queue.get()
    for _ in range(5):
        before = loop.time()
        queue.done(A, failed=True)
        assert await queue.get() == A
        pauses.append(loop.time() - before)

    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8])


async def test_who_only_lost_a_race_comes_back_soon():
    loop, queue = asyncio.get_running_loop(), WorkQueue()
    queue.add(A)
    await queue.get()
    for _ in range(20):
        before = loop.time()
        queue.done(A, failed=True, longest=1.0)
        await queue.get()

    assert loop.time() - before == pytest.approx(1.0)


async def test_of_two_later_looks_the_earlier_counts():
    loop, queue = asyncio.get_running_loop(), WorkQueue()
    queue.add_after(A, seconds=5)
    queue.add_after(A, seconds=2)
    queue.add_after(A, seconds=9)

    assert await queue.get() == A
    assert loop.time() == pytest.approx(2)
    queue.done(A)
    await asyncio.sleep(20)
    assert queue.is_idle()


async def test_a_cache_tells_what_was_what_changes_and_what_goes(objects, informers):
    await objects.create(CONFIG_MAPS, config_map(), manager="test")
    informer = informers.of(CONFIG_MAPS)
    await informer.synced()
    told = []
    informer.subscribe(lambda old, new: told.append((bool(old), bool(new))))

    changed = await objects.update(CONFIG_MAPS, config_map(x="1"), manager="test")
    await informer.caught_up(changed)
    await objects.delete(CONFIG_MAPS, "a", "n")
    await informer.deletion_seen(A, uid=changed["metadata"]["uid"])

    assert told == [(False, True), (True, True), (True, False)]
    assert informer.items() == []


async def test_a_writer_sees_its_own_write_in_the_cache(objects, informers):
    await informers.synced([CONFIG_MAPS])
    client = Client(objects, informers, manager="test")

    await client.create(CONFIG_MAPS, config_map())

    assert informers.of(CONFIG_MAPS).get(A) is not None


async def test_an_expired_watch_lists_again_without_losing_a_change(objects):
    broken = [True]
    original = objects.watch

    async def watch(resource, namespace=None, *, since):
        if broken:
            broken.clear()
            await objects.create(CONFIG_MAPS, config_map("late"), manager="test")
            await objects.delete(CONFIG_MAPS, "a", "n")
            raise Expired("too old")
        async for event in original(resource, namespace, since=since):
            yield event

    await objects.create(CONFIG_MAPS, config_map(), manager="test")
    objects.watch = watch
    informer, seen = Informer(objects, CONFIG_MAPS), []
    informer.subscribe(
        lambda old, new: seen.append(name_of(new) if new else f"-{name_of(old or {})}")
    )
    task = asyncio.create_task(informer.run())
    await asyncio.sleep(60)
    task.cancel()

    assert seen == ["a", "-a", "late"]


class Flaky(Controller):
    name = "flaky"

    def __init__(self, context):
        super().__init__(context)
        self.looks = []

    @override
    def sources(self):
        return {CONFIG_MAPS: lambda obj: (Key("n", name_of(obj)),)}

    @override
    async def prepare(self):
        self.starts = getattr(self, "starts", 0) + 1
        if self.starts == 1:
            raise RuntimeError("not today")

    @override
    async def reconcile(self, key):
        self.looks.append(key.name)
        if key == A and self.looks.count("a") < 3:
            raise Unavailable("later")


async def test_a_failing_controller_starts_again_and_a_failing_key_comes_back(objects, informers):
    clock = LoopClock()
    context = Context(
        objects=objects,
        informers=informers,
        sink=EventSink(objects, clock),
        node=cast("Node", None),
        clock=clock,
        settings=ControllerSettings(node_name="n", volumes=Path("volumes")),
    )
    await objects.create(CONFIG_MAPS, config_map(), manager="test")
    await objects.create(CONFIG_MAPS, config_map("b"), manager="test")
    flaky = Flaky(context)
    task = asyncio.create_task(supervise(flaky))
    await asyncio.sleep(60)
    task.cancel()

    assert flaky.starts == 2
    assert sorted(flaky.looks) == ["a", "a", "a", "b"]


async def test_a_repeated_event_is_counted_not_multiplied(objects):
    clock = LoopClock()
    sink = EventSink(objects, clock)
    task = asyncio.create_task(sink.run())
    about = await objects.create(CONFIG_MAPS, config_map(), manager="test")
    recorder = Recorder(sink, component="kubelet", host="node1")
    for _ in range(3):
        recorder.warning(about, "BackOff", "Back-off", field_path="spec.containers{a}")
        await asyncio.sleep(1)
    recorder.normal(about, "Started", "Started container a")
    await sink.drained()
    task.cancel()

    events = (await objects.list(EVENTS, "n")).items
    assert sorted((e["reason"], e["count"]) for e in events) == [("BackOff", 3), ("Started", 1)]
    counted = next(e for e in events if e["count"] == 3)
    assert counted["lastTimestamp"] > counted["firstTimestamp"]
    assert counted["source"] == {"component": "kubelet", "host": "node1"}
    assert counted["involvedObject"]["fieldPath"] == "spec.containers{a}"
    assert counted["type"] == "Warning"


async def test_an_event_that_was_deleted_is_written_anew(objects):
    sink = EventSink(objects, LoopClock())
    task = asyncio.create_task(sink.run())
    about = await objects.create(CONFIG_MAPS, config_map(), manager="test")
    recorder = Recorder(sink, component="c")
    recorder.normal(about, "R", "m")
    await sink.drained()
    first = (await objects.list(EVENTS, "n")).items[0]["metadata"]["name"]
    await objects.delete(EVENTS, first, "n")

    recorder.normal(about, "R", "m")
    await sink.drained()
    task.cancel()

    assert [e["count"] for e in (await objects.list(EVENTS, "n")).items] == [1]


async def test_old_events_go_and_repeated_ones_stay(cluster):
    expiry = EventExpiry(
        Context(
            objects=cluster.objects,
            informers=Informers(cluster.objects),
            sink=EventSink(cluster.objects, cluster.clock),
            node=cluster.machine,
            clock=cluster.clock,
            settings=cluster.settings,
        )
    )
    sink = EventSink(cluster.objects, cluster.clock)
    task = asyncio.create_task(sink.run())
    about = await cluster.create(DEPLOYMENTS, deployment())
    recorder = Recorder(sink, component="c")
    recorder.normal(about, "Once", "m")
    recorder.normal(about, "Often", "m")
    await asyncio.sleep(3000)
    recorder.normal(about, "Often", "m")
    await sink.drained()
    await asyncio.sleep(700)
    task.cancel()

    await expiry.sweep()

    reasons = {e["reason"] for e in await cluster.items(EVENTS)}
    assert "Often" in reasons
    assert "Once" not in reasons


def test_the_loop_of_these_tests_jumps():
    loop = VirtualLoop()
    loop.run_until_complete(asyncio.sleep(3600))
    assert loop.time() == pytest.approx(3600)
    loop.close()
