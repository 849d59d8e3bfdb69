"""Probes: is a container started, ready, alive?

One loop per probe. A first success is looked for more often than the period says, quietly, so
that a pod is ready when it is and not when its next turn comes; failures count and are told only
at the period's pace.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Literal

from hatoba.kernel.json import JsonObject

_QUIET_SECONDS: Final = 0.5
_HEAD_LIMIT: Final = 16384
ProbeKind = Literal["Startup", "Readiness", "Liveness"]


class ProbeFailed(Exception):
    """The probe says no; the message is its reason."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Target:
    """The container that is probed."""

    address: str
    ports: dict[str, int]
    """Its named ports."""
    execute: Callable[[list[str], float], Awaitable[tuple[int, bytes]]]
    """Runs a command in the container; returns its exit code and the end of its output."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Timing:
    """When to probe and what its answers mean."""

    initial_delay: float
    period: float
    timeout: float
    successes: int
    failures: int

    @classmethod
    def read(cls, probe: JsonObject) -> "Timing":
        """Read the spec, with Kubernetes' defaults."""
        return cls(
            initial_delay=probe.get("initialDelaySeconds") or 0,
            period=probe.get("periodSeconds") or 10,
            timeout=probe.get("timeoutSeconds") or 1,
            successes=probe.get("successThreshold") or 1,
            failures=probe.get("failureThreshold") or 3,
        )


async def probe_once(probe: JsonObject, target: Target, *, seconds: float) -> None:
    """Ask once.

    Raises:
        ProbeFailed: the answer is no, or there was none in time.
    """
    try:
        async with asyncio.timeout(seconds):
            if action := probe.get("httpGet"):
                await _http(action, target)
            elif action := probe.get("tcpSocket"):
                await _tcp(action, target)
            elif action := probe.get("exec"):
                await _exec(action, target, seconds=seconds)
            else:
                raise ProbeFailed(f"unsupported probe: {', '.join(probe)}")
    except TimeoutError:
        raise ProbeFailed(f"command timed out after {seconds}s") from None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ProbeFailed(f"{target.address}: {reason}") from error


def _port(value: str | int, target: Target) -> int:
    if isinstance(value, int):
        return value
    if value.isdigit():
        return int(value)
    if value not in target.ports:
        raise ProbeFailed(f"couldn't find port: {value}")
    return target.ports[value]


async def _tcp(action: JsonObject, target: Target) -> None:
    host = action.get("host") or target.address
    _, writer = await asyncio.open_connection(host, _port(action["port"], target))
    writer.close()


async def _exec(action: JsonObject, target: Target, *, seconds: float) -> None:
    code, output = await target.execute(list(action["command"]), seconds)
    if code != 0:
        raise ProbeFailed(output.decode(errors="replace").strip())


async def _http(action: JsonObject, target: Target) -> None:
    host = action.get("host") or target.address
    port = _port(action["port"], target)
    context: ssl.SSLContext | None = None
    if action.get("scheme") == "HTTPS":
        # As Kubernetes: a probe asks whether it answers, not who it is.
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    headers = {"Host": f"{host}:{port}", "User-Agent": "kube-probe/1.32", "Accept": "*/*"}
    headers |= {item["name"]: item["value"] for item in action.get("httpHeaders") or ()}
    lines = [f"GET {action.get('path') or '/'} HTTP/1.1"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    lines += ["Connection: close", "", ""]
    reader, writer = await asyncio.open_connection(host, port, ssl=context, limit=_HEAD_LIMIT)
    try:
        writer.write("\r\n".join(lines).encode())
        status_line = await reader.readline()
    finally:
        writer.close()
    try:
        status = int(status_line.split(b" ", 2)[1])
    except (IndexError, ValueError):
        raise ProbeFailed("malformed HTTP response") from None
    if not HTTPStatus.OK <= status < HTTPStatus.BAD_REQUEST:
        raise ProbeFailed(f"HTTP probe failed with statuscode: {status}")


@dataclass(slots=True, kw_only=True)
class Prober:
    """One probe of one running container.

    `passed` and `failed` are called when the thresholds are reached, `told` for every failure that
    counts, with its reason. `has_passed` is where an adopted container stands already.
    """

    kind: ProbeKind
    probe: JsonObject
    target: Target
    passed: Callable[[], None]
    failed: Callable[[], None]
    told: Callable[[ProbeKind, str], None]
    has_passed: bool = False

    async def run(self) -> None:
        """Probe until cancelled; a startup probe returns when it has passed."""
        timing = Timing.read(self.probe)
        await asyncio.sleep(timing.initial_delay)
        successes = failures = 0
        while True:
            reason = await self._ask(timing)
            if reason is None:
                successes, failures = successes + 1, 0
                if successes >= timing.successes and not self.has_passed:
                    self.has_passed = True
                    self.passed()
                if self.has_passed and self.kind == "Startup":
                    return
            else:
                successes, failures = 0, failures + 1
                self.told(self.kind, reason)
                if failures >= timing.failures:
                    self.has_passed = False
                    self.failed()
            await self._pause(timing)

    async def _pause(self, timing: Timing) -> None:
        """Wait for the next turn, or until a quiet question finds the container ready."""
        if self.has_passed or self.kind == "Liveness" or timing.successes > 1:
            await asyncio.sleep(timing.period)
            return
        loop = asyncio.get_running_loop()
        turn = loop.time() + timing.period
        pause = _QUIET_SECONDS
        while (left := turn - loop.time()) > 0:
            await asyncio.sleep(min(pause, left))
            pause = min(pause * 1.2, 1.0)
            if turn - loop.time() > _QUIET_SECONDS and await self._ask(timing) is None:
                return

    async def _ask(self, timing: Timing) -> str | None:
        try:
            await probe_once(self.probe, self.target, seconds=timing.timeout)
        except ProbeFailed as failure:
            return str(failure)
        return None
