"""How much is done at once and how long is waited after a failure: each limit at its edge."""

import asyncio
import contextlib

import httpx2
import pytest
from structlog.testing import capture_logs
from tests.operator.weather import Calm, an_answer

from hatoba.cluster.objects import EVENTS
from hatoba.kernel.clock import SystemClock
from hatoba.kernel.errors import Unavailable
from hatoba.operator import names
from hatoba.operator.answers import LONGEST_RETRY_AFTER_SECONDS, Throttled
from hatoba.operator.kubernetes import WATCH_SECONDS, WATCH_SILENCE_SECONDS, Cluster
from hatoba.operator.runtime import election
from hatoba.operator.runtime.controller import Controller, Limits, Outcome
from hatoba.operator.runtime.informer import Informer, Scope, WatchRetry
from hatoba.operator.runtime.queue import QueueSettings, WorkQueue

pytestmark = [pytest.mark.api, pytest.mark.anyio]
BROKEN = [("namespace", f"broken-{number}") for number in range(10)]
SOUND = [("namespace", f"sound-{number}") for number in range(30)]


@contextlib.asynccontextmanager
async def controlling(work, *, queue, **limits):
    controller = Controller(work, queue=queue, clock=SystemClock(), limits=Limits(**limits))
    running = asyncio.create_task(controller.run())
    try:
        async with asyncio.timeout(30):
            yield
    finally:
        controller.stop()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        queue.close()


async def test_however_many_hang_the_others_are_worked_on():
    queue = WorkQueue(QueueSettings(first_delay_seconds=0.0, suspects_at_once=2))
    hanging, worst, done, finished = set(), 0, set(), asyncio.Event()

    async def work(key):
        nonlocal worst
        if key in SOUND:
            done.add(key)
            if len(done) == len(SOUND):
                finished.set()
            return Outcome()
        if key not in seen:
            seen.add(key)
            raise Unavailable("does not answer")
        hanging.add(key)
        worst = max(worst, len(hanging))
        full.set()
        return await asyncio.Event().wait()

    seen, full = set(), asyncio.Event()
    for key in BROKEN:
        queue.add(key)
    async with controlling(work, queue=queue, workers=3):
        await full.wait()
        for key in SOUND:
            queue.add(key)
        await finished.wait()
    assert worst == 2


async def test_who_is_well_again_waits_for_no_place():
    queue = WorkQueue(QueueSettings(suspects_at_once=1))
    for key in BROKEN[:3]:
        queue.suspect(key)
    queue.trust(BROKEN[2])
    for key in BROKEN[:3]:
        queue.add(key)
    assert [await queue.get(), await queue.get()] == [BROKEN[0], BROKEN[2]]
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done(BROKEN[0])
    assert await waiting == BROKEN[1]


async def test_keys_are_taken_in_the_order_in_which_they_came():
    queue = WorkQueue()
    queue.suspect(BROKEN[0])
    for key in (SOUND[0], BROKEN[0], SOUND[1]):
        queue.has_begun(key)
        queue.add(key)
    assert [await queue.get() for _ in range(3)] == [SOUND[0], BROKEN[0], SOUND[1]]


async def test_a_pass_that_takes_long_makes_a_suspect_and_a_quick_one_none():
    for slow_pass_seconds, suspected in ((-1.0, True), (3600.0, False)):
        queue = WorkQueue(QueueSettings(suspects_at_once=0))
        passed = asyncio.Event()

        async def work(key, passed=passed):
            passed.set()
            return Outcome(again_after_seconds=None)

        queue.add(SOUND[0])
        async with controlling(work, queue=queue, workers=1, slow_pass_seconds=slow_pass_seconds):
            await passed.wait()
            passed.clear()
            queue.add(SOUND[1])
            await passed.wait()
            passed.clear()
            queue.add(SOUND[0])
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(passed.wait(), 0.05 if suspected else 30)
        assert passed.is_set() != suspected


async def test_a_pass_is_cut_off_at_its_limit_and_comes_again():
    queue = WorkQueue(QueueSettings(first_delay_seconds=0.0))
    cut, again = asyncio.Event(), asyncio.Event()

    async def work(key):
        if cut.is_set():
            again.set()
            return Outcome()
        try:
            await asyncio.Event().wait()
        finally:
            cut.set()

    queue.add(SOUND[0])
    async with controlling(work, queue=queue, pass_limit_seconds=0.05):
        await again.wait()


async def test_a_timeout_of_the_works_own_is_no_cut_off():
    queue = WorkQueue(QueueSettings(first_delay_seconds=0.0))
    passes, again = [], asyncio.Event()

    async def work(key):
        passes.append(key)
        if len(passes) == 1:
            raise TimeoutError
        again.set()
        return Outcome()

    queue.add(SOUND[0])
    async with controlling(work, queue=queue):
        await again.wait()


async def test_a_retry_waits_as_long_as_it_was_told():
    queue = WorkQueue()
    assert queue.retry(SOUND[0], at_least_seconds=7) == 7
    assert queue.retry(SOUND[1], at_least_seconds=0) < 0.2
    queue.close()


class Answer(Calm):
    """Whatever is asked, this is the answer."""

    def __init__(self, code, headers=None, content=None):
        super().__init__()
        self.code, self.headers, self.content = code, headers, content

    async def pass_on(self, request, send):
        if self.content is None:
            answer = an_answer(request, self.code)
            answer.headers.pop("Retry-After", None)
            answer.headers.update(self.headers or {})
            return answer
        return httpx2.Response(
            self.code, headers=self.headers, content=self.content, request=request
        )


@pytest.mark.parametrize(
    ("said", "understood"),
    [("0", 0), ("7", 7), ("60", 60), ("61", 60), ("9" * 30, 60)],
)
async def test_retry_after_is_obeyed_up_to_a_limit(stage, said, understood):
    assert LONGEST_RETRY_AFTER_SECONDS == 60
    stage.weather.policy = Answer(429, {"Retry-After": said})
    with pytest.raises(Throttled) as caught:
        await stage.world.cluster.get("Secret", "x", namespace="default")
    assert caught.value.retry_after_seconds == understood


@pytest.mark.parametrize("said", [{}, {"Retry-After": "-1"}, {"Retry-After": "soon"}])
async def test_a_refusal_without_a_time_is_a_failure_like_any(stage, said):
    stage.weather.policy = Answer(429, said)
    with pytest.raises(Unavailable) as caught:
        await stage.world.cluster.get("Secret", "x", namespace="default")
    assert not isinstance(caught.value, Throttled)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(200, {"Content-Type": "text/html"}, b"<html>maintenance</html>"),
        Answer(200, {"Content-Type": "application/json"}, b'{"items": ['),
        Answer(200, {"Content-Type": "application/json"}, b"\xff\xfe"),
        Answer(503, {"Content-Type": "text/html"}, b"<html>bad gateway</html>"),
        Answer(502, {}, b""),
        Answer(500, {"Content-Type": "application/json"}, b"not JSON"),
    ],
)
async def test_what_a_balancer_answers_is_weather(stage, answer):
    stage.weather.policy = answer
    with pytest.raises(Unavailable):
        await stage.world.cluster.get("Secret", "x", namespace="default")
    with pytest.raises(Unavailable):
        await stage.world.cluster.list("Secret", namespace="default")


class Dead(Calm):
    """Watches are accepted and never say anything, as when a firewall forgot the connection."""

    def __init__(self):
        super().__init__()
        self.lists = 0

    async def pass_on(self, request, send):
        if request.url.params.get("watch") != "true":
            self.lists += 1
            return await send(request)
        return httpx2.Response(200, request=request, stream=Silence())


class Silence(httpx2.AsyncByteStream):
    async def __aiter__(self):
        await asyncio.Event().wait()
        yield b""


async def test_a_watch_that_fell_silent_is_given_up_and_the_kind_listed_again(stage):
    assert WATCH_SILENCE_SECONDS > WATCH_SECONDS
    stage.weather.policy = dead = Dead()
    cluster = Cluster(stage.world.cluster._client, watch_silence_seconds=0.05)
    informer = Informer(
        cluster,
        names.KIND,
        changed=lambda _obj: seen.set(),
        scope=Scope(labelled=False),
        retry=WatchRetry(first_seconds=0.01, longest_seconds=0.02),
    )
    seen = asyncio.Event()
    running = asyncio.create_task(informer.run())
    async with asyncio.timeout(30):
        await informer.synced.wait()
        await stage.world.create_registry()
        await seen.wait()
    running.cancel()
    assert len(informer.objects()) == 1
    assert dead.lists > 1


async def test_a_fault_in_a_watch_is_told_and_the_watch_goes_on(stage):
    broke = asyncio.Event()

    def changed(obj):
        if not broke.is_set():
            broke.set()
            raise RuntimeError("a fault")
        told.set()

    told = asyncio.Event()
    informer = Informer(
        stage.world.cluster,
        names.KIND,
        changed=changed,
        scope=Scope(labelled=False),
        retry=WatchRetry(first_seconds=0.01, longest_seconds=0.02),
    )
    with capture_logs() as events:
        running = asyncio.create_task(informer.run())
        async with asyncio.timeout(30):
            await informer.synced.wait()
            await stage.world.create_registry()
            await broke.wait()
            await stage.world.update_spec({"configBundleSecret": "x"})
            await told.wait()
        running.cancel()
    assert "watch crashed" in [event["event"] for event in events]


class NoLeases(Calm):
    """The Lease is somebody else's business."""

    forbidden = True

    async def pass_on(self, request, send):
        if self.forbidden and "/leases" in request.url.path:
            return an_answer(request, 403)
        return await super().pass_on(request, send)


async def test_a_lease_that_is_refused_is_told_once_and_taken_when_it_may_be(stage, monkeypatch):
    monkeypatch.setattr(election, "RETRY_SECONDS", 0.01)
    stage.weather.policy = refusing = NoLeases()
    cluster = stage.world.cluster
    candidate = election.Election(
        cluster, namespace="hatoba-system", identity="me", clock=SystemClock()
    )
    acquiring = asyncio.create_task(candidate.acquire())

    async def told():
        listing = await stage.world.objects.list(EVENTS, "hatoba-system")
        return [event for event in listing.items if event["reason"] == "LeaseRefused"]

    async with asyncio.timeout(30):
        while not await told():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        (event,) = await told()
        assert event["involvedObject"]["kind"] == "Lease"
        assert "the weather says 403; grant its service account" in event["message"]
        assert not acquiring.done()
        refusing.forbidden = False
        await acquiring
