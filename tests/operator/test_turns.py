"""Whose turn it is, and how soon what is blocked is looked at again: each limit at its edge."""

import asyncio

import pytest
from tests.operator.builders import NAME, NAMESPACE, SETTINGS
from tests.operator.weather import Calm, an_answer

from hatoba.cluster.objects import DEPLOYMENTS
from hatoba.kernel.clock import SystemClock
from hatoba.operator import names
from hatoba.operator.process import Operator
from hatoba.operator.reconciler import BLOCKED_LONGEST_SECONDS, BLOCKED_RETRY_SECONDS
from hatoba.operator.runtime.controller import RESYNC_SECONDS, Controller, Outcome
from hatoba.operator.runtime.queue import QueueSettings, WorkQueue

pytestmark = [pytest.mark.api, pytest.mark.anyio]
KEY = (NAMESPACE, NAME)
NEW = [("new", str(number)) for number in range(40)]
EDITED = ("old", "edited")


def a_queue(**settings):
    return WorkQueue(QueueSettings(**settings))


async def taken(queue):
    async with asyncio.timeout(30):
        return await queue.get()


async def test_who_has_begun_is_brought_to_the_end_before_more_is_begun():
    queue, order = a_queue(), []
    for key in NEW[:3]:
        queue.add(key)
    while queue.depth:
        key = await taken(queue)
        order.append(key)
        if order.count(key) < 4:
            queue.add(key)
        queue.done(key)
    assert order == [key for key in NEW[:3] for _ in range(4)]


async def test_an_edit_of_what_is_done_goes_before_all_that_is_new():
    queue = a_queue()
    queue.has_begun(EDITED)
    for key in (*NEW, EDITED):
        queue.add(key)
    assert await taken(queue) == EDITED


async def test_no_newcomer_is_passed_by_more_than_the_longest_run():
    queue = a_queue(longest_run=3)
    busy = [("busy", str(number)) for number in range(2)]
    for key in busy:
        queue.has_begun(key)
    for key in (*NEW[:3], *busy):
        queue.add(key)
    order = []
    for _ in range(12):
        key = await taken(queue)
        order.append(key)
        if key in busy:
            queue.add(key)
        queue.done(key)
    assert [order.index(key) for key in NEW[:3]] == [3, 7, 11]
    assert order[:3] == [busy[0], busy[1], busy[0]]


async def test_who_runs_while_nobody_is_new_has_not_passed_anybody():
    queue = a_queue(longest_run=2)
    for _ in range(5):
        queue.add(EDITED)
        queue.done(await taken(queue))
    queue.add(NEW[0])
    for expected in (EDITED, EDITED, NEW[0]):
        queue.add(EDITED)
        key = await taken(queue)
        assert key == expected
        queue.done(key)


async def test_a_suspect_goes_before_newcomers_and_by_the_same_rule():
    queue = a_queue(longest_run=1, suspects_at_once=1)
    suspects = [("ill", str(number)) for number in range(2)]
    for key in suspects:
        queue.suspect(key)
    for key in (NEW[0], NEW[1], *suspects):
        queue.add(key)
    assert [await taken(queue) for _ in range(3)] == [suspects[0], NEW[0], NEW[1]]


async def test_who_has_left_comes_back_as_a_newcomer():
    queue = a_queue()
    queue.has_begun(EDITED)
    queue.leave(EDITED)
    for key in (NEW[0], EDITED):
        queue.add(key)
    assert await taken(queue) == NEW[0]


async def test_what_comes_right_after_a_pass_is_looked_at_together_when_the_key_has_rested():
    queue = a_queue(rest_seconds=3600)
    queue.add(KEY)
    await taken(queue)
    queue.add(KEY)
    queue.done(KEY)
    for key in (KEY, EDITED):
        queue.add(key)
    assert (await taken(queue), queue.depth) == (EDITED, 1)
    queue.close()
    queue = a_queue(rest_seconds=0.001)
    for _ in range(3):
        queue.add(KEY)
        assert await taken(queue) == KEY
        queue.done(KEY)
    assert queue.depth == 0
    queue.close()


async def test_a_look_in_vain_is_repeated_ever_later_up_to_its_limit():
    queue = a_queue()
    waits = [queue.look_again(KEY, first_seconds=5, longest_seconds=60) for _ in range(6)]
    assert waits == [5, 10, 20, 40, 60, 60]
    queue.close()


@pytest.mark.parametrize("changed", ["add", "add_after"])
async def test_a_change_is_looked_at_with_the_first_pace_again(changed):
    queue = a_queue()
    for _ in range(3):
        queue.look_again(KEY, first_seconds=5, longest_seconds=60)
    getattr(queue, changed)(*((KEY,) if changed == "add" else (KEY, 60.0)))
    assert queue.look_again(KEY, first_seconds=5, longest_seconds=60) == 5
    queue.close()


async def test_the_time_that_is_due_is_no_change():
    waits, thrice = [], asyncio.Event()

    class Noting(WorkQueue):
        def look_again(self, key, *, first_seconds, longest_seconds):
            wait = super().look_again(
                key, first_seconds=first_seconds, longest_seconds=longest_seconds
            )
            waits.append(wait)
            if len(waits) == 4:
                thrice.set()
            return wait

    async def work(_key):
        return Outcome(again_after_seconds=0.001, longest_seconds=0.004)

    queue = Noting()
    queue.add(KEY)
    controller = Controller(work, queue=queue, clock=SystemClock())
    running = asyncio.create_task(controller.run())
    async with asyncio.timeout(30):
        await thrice.wait()
        controller.stop()
        await running
    queue.close()
    assert waits[:4] == [0.001, 0.002, 0.004, 0.004]


async def looked(world):
    """Run a pass, with what is there already seen."""
    world.operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    async with world.operator.watching():
        await world.operator.wait_ready()
        return await world.operator.reconciler.reconcile(KEY)


@pytest.mark.parametrize(
    "spec",
    [
        {"configBundleSecret": "absent"},
        {"components": [{"kind": "postgres", "managed": False}]},
    ],
)
async def test_what_only_a_watched_change_can_help_is_looked_at_ever_later(world, spec):
    await world.create_bundle({}, name="there")
    await world.create_registry({"configBundleSecret": "there", **spec})
    # The first pass may write what the spec leaves out.
    _, outcome = await looked(world), await looked(world)
    assert outcome.again_after_seconds == BLOCKED_RETRY_SECONDS
    assert outcome.longest_seconds == BLOCKED_LONGEST_SECONDS <= RESYNC_SECONDS


class NoRights(Calm):
    """The operator may not write Secrets."""

    async def pass_on(self, request, send):
        if request.method in ("POST", "PATCH") and "/secrets" in request.url.path:
            return an_answer(request, 403)
        return await super().pass_on(request, send)


async def test_what_passes_unseen_keeps_its_pace(stage):
    """Nobody tells the operator that it was given a right."""
    await stage.world.create_bundle({}, name="there")
    await stage.world.create_registry({"configBundleSecret": "there"})
    await stage.world.converge()
    await stage.world.create_bundle({"REGISTRY_TITLE": "Harbour"}, name="second")
    await stage.world.update_spec({"configBundleSecret": "second"})
    stage.weather.policy = NoRights()
    outcome = await looked(stage.world)
    registry = await stage.world.cluster.get(names.KIND, NAME, namespace=NAMESPACE)
    (blocked,) = [c for c in registry["status"]["conditions"] if c["type"] == "RolloutBlocked"]
    assert (blocked["status"], "403" in blocked["message"]) == ("True", True)
    assert outcome == Outcome(again_after_seconds=BLOCKED_RETRY_SECONDS)


async def test_blocked_over_pods_that_are_not_well_keeps_its_pace(world):
    """Events say why, and are not watched."""
    await world.create_bundle({}, name="there")
    await world.create_registry({"configBundleSecret": "there"})
    await world.converge()
    await world.update_spec({"configBundleSecret": "absent"})
    assert (await looked(world)).longest_seconds == BLOCKED_LONGEST_SECONDS
    await world.objects.delete(DEPLOYMENTS, f"{NAME}-clair-app", NAMESPACE)
    assert await looked(world) == Outcome(again_after_seconds=BLOCKED_RETRY_SECONDS)


async def test_the_missing_bundle_ends_the_waiting_when_it_comes(world):
    await world.create_registry({"configBundleSecret": "absent"})
    world.operator = operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    async with operator.watching(), asyncio.timeout(60):
        await operator.wait_ready()
        await operator.reconciler.reconcile(KEY)
        queue = operator.queue
        for _ in range(5):
            queue.look_again(KEY, first_seconds=3600, longest_seconds=3600)
        while queue.depth:
            queue.done(await queue.get())
        await world.create_bundle({}, name="absent")
        assert await queue.get() == KEY


async def test_registries_that_a_former_operator_began_are_known_as_such(world):
    await world.create_bundle({}, name="there")
    await world.create_registry({"configBundleSecret": "there"})
    await world.converge()
    operator = Operator(world.cluster, settings=SETTINGS, clock=SystemClock())
    operator.queue.add(NEW[0])
    async with operator.watching():
        await operator.wait_ready()
        assert await taken(operator.queue) == KEY
        assert await taken(operator.queue) == NEW[0]
