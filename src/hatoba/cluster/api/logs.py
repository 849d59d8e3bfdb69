"""`pods/<name>/log`: the query checked as a real server does, the text from the node.

Spec: API reference, Pod, "read log of the specified Pod".
"""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from hatoba.cluster.api.documents import reach
from hatoba.cluster.api.exchange import Exchange
from hatoba.cluster.api.metadata import forbidden, invalid
from hatoba.cluster.api.queries import Query, integer, is_true
from hatoba.cluster.api.reading import Reader
from hatoba.cluster.api.status import About, BadRequest, Cause, Invalid
from hatoba.cluster.api.writing import key_of
from hatoba.cluster.node import LogRequest, Node
from hatoba.kernel.clock import Clock
from hatoba.kernel.json import JsonObject

_WAITING: Final = {
    "ImagePullBackOff": "trying and failing to pull image",
    "ErrImagePull": "image can't be pulled",
    "CrashLoopBackOff": "back-off restarting",
}


class Logs:
    """Answers requests for logs."""

    def __init__(self, reader: Reader, *, node: Node, clock: Clock) -> None:
        self._reader = reader
        self._node = node
        self._clock = clock

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Stream a container's log.

        Raises:
            StatusError: no such pod or container, or the query is not valid.
        """
        target, query = exchange.target, exchange.request.query
        pod = self._reader.get(
            exchange.resource, key_of(exchange.resource, target.name, target.namespace)
        )
        container = choose_container(pod, query.get("container", ""))
        request = self._parse(target.name, query, container)
        if not reach(pod, "spec", "nodeName"):
            return web.Response(status=204)
        _check_state(pod, container, previous=request.previous)
        lines = self._node.logs(target.namespace or "", target.name, request)
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(exchange.request)
        async for chunk in _limited(lines, request.limit_bytes):
            await response.write(chunk)
        await response.write_eof()
        return response

    def _parse(self, pod: str, query: Query, container: str) -> LogRequest:
        since = integer(query, "sinceSeconds")
        tail, limit = integer(query, "tailLines"), integer(query, "limitBytes")
        since_time = query.get("sinceTime")
        causes: list[Cause] = []
        if tail is not None and tail < 0:
            causes.append(invalid("tailLines", str(tail), "must be greater than or equal to 0"))
        if limit is not None and limit < 1:
            causes.append(invalid("limitBytes", str(limit), "must be greater than 0"))
        if since is not None and since_time:
            sentence = "at most one of `sinceTime` or `sinceSeconds` may be specified"
            causes.append(forbidden("[]", sentence))
        elif since is not None and since < 1:
            causes.append(invalid("sinceSeconds", str(since), "must be greater than 0"))
        if "stream" in query:
            causes.append(forbidden("stream", "may not be specified"))
        if causes:
            raise Invalid.of(About(name=pod, kind="PodLogOptions"), causes)
        if since_time:
            since = self._seconds_since(since_time)
        return LogRequest(
            container=container,
            follow=is_true(query.get("follow")),
            previous=is_true(query.get("previous")),
            timestamps=is_true(query.get("timestamps")),
            tail_lines=tail,
            limit_bytes=limit,
            since_seconds=since,
        )

    def _seconds_since(self, text: str) -> int:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise BadRequest(f'parsing time "{text}": invalid time') from error
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return max(1, int((self._clock.now() - moment).total_seconds()))


async def _limited(chunks: AsyncIterator[bytes], limit: int | None) -> AsyncIterator[bytes]:
    left = limit
    async for chunk in chunks:
        if left is None:
            yield chunk
            continue
        yield chunk[:left]
        left -= len(chunk)
        if left <= 0:
            return


def choose_container(pod: JsonObject, asked: str) -> str:
    """Return which container is meant.

    Raises:
        BadRequest: several could be, or there is none of that name.
    """
    name = pod["metadata"]["name"]
    main = [c["name"] for c in pod["spec"].get("containers") or []]
    initial = [c["name"] for c in pod["spec"].get("initContainers") or []]
    if asked:
        if asked not in main + initial:
            raise BadRequest(f"container {asked} is not valid for pod {name}")
        return asked
    if len(main) > 1:
        choices = f"[{' '.join(main)}]"
        if initial:
            choices += f" or one of the init containers: [{' '.join(initial)}]"
        raise BadRequest(
            f"a container name must be specified for pod {name}, choose one of: {choices}"
        )
    chosen: str = main[0]
    return chosen


def _check_state(pod: JsonObject, container: str, *, previous: bool) -> None:
    """Refuse what the kubelet of a real cluster refuses."""
    name = pod["metadata"]["name"]
    status = pod.get("status") or {}
    known = [
        *(status.get("containerStatuses") or []),
        *(status.get("initContainerStatuses") or []),
    ]
    state = next((one for one in known if one["name"] == container), None)
    if state is None:
        return
    if previous:
        if not (state.get("lastState") or {}).get("terminated"):
            raise BadRequest(
                f'previous terminated container "{container}" in pod "{name}" not found'
            )
        return
    waiting = (state.get("state") or {}).get("waiting")
    if waiting and not (state.get("lastState") or {}).get("terminated"):
        reason = waiting.get("reason", "")
        why = _WAITING.get(reason, reason)
        raise BadRequest(f'container "{container}" in pod "{name}" is waiting to start: {why}')
