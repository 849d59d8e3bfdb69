"""What can happen between an operator and its cluster, by the word of a policy.

`Weather` sits where the network is. A policy sees each request before it is sent and may refuse
it, let it get lost on the way there or back, or cut and hold back what a watch says.
"""

import asyncio
import json
import random

import httpx2

STATUSES = {
    403: "Forbidden",
    409: "Conflict",
    429: "TooManyRequests",
    500: "InternalError",
    410: "Expired",
}


class Killed(Exception):
    """The process is gone."""


class Calm:
    """Nothing happens; writes are counted."""

    def __init__(self):
        self.writes = []

    async def pass_on(self, request, send):
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.url.path}")
        return await send(request)


class Death(Calm):
    """The process ends before it sends its write number `last`, and sends nothing any more."""

    def __init__(self, last):
        super().__init__()
        self.last = last
        self.dead = False

    async def pass_on(self, request, send):
        self.dead = self.dead or (request.method != "GET" and len(self.writes) + 1 >= self.last)
        if self.dead:
            raise Killed(f"before {request.method} {request.url.path}")
        return await super().pass_on(request, send)


class Storm(Calm):
    """Each request may fail, in a way that dice decide, until so many have failed."""

    def __init__(self, seed, *, faults, seen, share=0.25):
        super().__init__()
        self.dice = random.Random(seed)
        self.left = faults
        self.share = share
        self.seen = seen

    async def pass_on(self, request, send):
        if self.left <= 0 or self.dice.random() > self.share:
            return await super().pass_on(request, send)
        watch = request.url.params.get("watch") == "true"
        kinds = (
            ("dropped", "expired", "late", "refused") if watch else ("refused", "lost", "unheard")
        )
        fault = self._dealt(kinds)
        self.left -= 1
        self.seen[fault] += 1
        return await getattr(self, fault)(request, send)

    def _dealt(self, kinds):
        """Return one of those that were seen least: none is left out by chance."""
        least = min(self.seen[kind] for kind in kinds)
        return self.dice.choice([kind for kind in kinds if self.seen[kind] == least])

    async def refused(self, request, send):
        codes = (429, 500) if request.method == "GET" else (409, 429, 500)
        code = self._dealt(codes)
        self.seen[code] += 1
        return an_answer(request, code)

    async def lost(self, request, send):
        """The request never arrives."""
        raise self.dice.choice((httpx2.ConnectError, httpx2.ReadTimeout))("lost on its way")

    async def unheard(self, request, send):
        """The request arrives, and is carried out; the answer gets lost."""
        answer = await super().pass_on(request, send)
        await answer.aclose()
        raise self.dice.choice((httpx2.ReadTimeout, httpx2.RemoteProtocolError))("no answer")

    async def dropped(self, request, send):
        """The connection breaks after some events."""
        return await self._retold(request, send, cut_after=self.dice.randint(0, 3))

    async def late(self, request, send):
        """What happened is told much later."""
        return await self._retold(request, send, delay=self.dice.uniform(0.05, 0.3))

    async def expired(self, request, send):
        """The version to watch from is not remembered any more: at once, or after a while."""
        if self.dice.random() < 0.5:
            return an_answer(request, 410)
        event = {"type": "ERROR", "object": a_status(410)}
        return httpx2.Response(200, request=request, content=json.dumps(event).encode() + b"\n")

    async def _retold(self, request, send, *, cut_after=None, delay=0.0):
        answer = await super().pass_on(request, send)
        answer.stream = Retold(answer.stream, cut_after=cut_after, delay=delay)
        return answer


class Retold(httpx2.AsyncByteStream):
    """A watch's events, with a delay and perhaps an end in the middle of one."""

    def __init__(self, stream, *, cut_after, delay):
        self._stream = stream
        self._cut_after = cut_after
        self._delay = delay

    async def __aiter__(self):
        told = 0
        async for chunk in self._stream:
            if self._cut_after is not None and told >= self._cut_after:
                yield chunk[: len(chunk) // 2]
                raise httpx2.RemoteProtocolError("peer closed connection")
            await asyncio.sleep(self._delay)
            yield chunk
            told += 1

    async def aclose(self):
        await self._stream.aclose()


class Blind(Calm):
    """Watches say nothing any more: the operator's picture of the cluster stays what it was."""

    def __init__(self):
        super().__init__()
        self.sees = asyncio.Event()
        self.sees.set()

    async def pass_on(self, request, send):
        answer = await super().pass_on(request, send)
        if request.url.params.get("watch") == "true":
            answer.stream = Held(answer.stream, self.sees)
        return answer


class Held(httpx2.AsyncByteStream):
    """Events that wait until somebody opens their eyes."""

    def __init__(self, stream, sees):
        self._stream = stream
        self._sees = sees

    async def __aiter__(self):
        async for chunk in self._stream:
            await self._sees.wait()
            yield chunk

    async def aclose(self):
        await self._stream.aclose()


def a_status(code):
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": STATUSES[code],
        "message": f"the weather says {code}",
    }


def an_answer(request, code):
    headers = {"Content-Type": "application/json"}
    if code == 429:
        headers["Retry-After"] = "0"
    body = json.dumps(a_status(code)).encode()
    return httpx2.Response(code, request=request, headers=headers, content=body)


class Weather(httpx2.AsyncBaseTransport):
    """A transport under a policy that may be exchanged at any time."""

    def __init__(self, transport):
        self._transport = transport
        self.policy = Calm()

    async def handle_async_request(self, request):
        return await self.policy.pass_on(request, self._transport.handle_async_request)

    async def aclose(self):
        await self._transport.aclose()
