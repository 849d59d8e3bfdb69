"""Running the clients from the harness: each as a process of its own, whose CPU is accounted."""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from bench.load.spec import LoadResult, LoadSpec
from bench.model import BenchmarkFailed, Sample

CHECKOUT: Final = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS: Final = 300.0
WRK_TIMEOUT_SECONDS: Final = 60
_MARK: Final = "RESULT "
_SCRIPT: Final = """\
local paths = {%(paths)s}
local headers = {%(headers)s}
local requests, number = {}, 0
init = function(args)
  for index, path in ipairs(paths) do
    requests[index] = wrk.format("GET", path, headers)
  end
end
request = function()
  number = number %% #requests + 1
  return requests[number]
end
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    'RESULT {"requests": %%d, "microseconds": %%d, "bytes": %%d, "failed": %%d, "broken": %%d, '
      .. '"p50": %%d, "p99": %%d}\\n',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


def run_lean(spec: LoadSpec) -> Sample:
    """Run the lean client.

    Raises:
        BenchmarkFailed: it broke down, or nothing but failures came back.
    """
    done = subprocess.run(
        [sys.executable, "-m", "bench.load"],
        input=msgspec.json.encode(spec),
        capture_output=True,
        check=False,
        cwd=CHECKOUT,
        timeout=PATIENCE_SECONDS + spec.seconds,
    )
    if done.returncode:
        raise BenchmarkFailed(f"the client broke down: {last_line(done.stderr.decode())}")
    result = msgspec.json.decode(done.stdout, type=LoadResult)
    if result.requests == 0:
        raise BenchmarkFailed(f"no request succeeded: {result.first_failure}")
    return Sample(
        requests=result.requests,
        failures=result.failures,
        seconds=result.seconds,
        p50_ms=result.p50_ms,
        p99_ms=result.p99_ms,
        body_bytes=result.body_bytes,
        client_cpu_seconds=result.client_cpu_seconds,
    )


def run_wrk(
    *,
    port: int,
    paths: list[str],
    headers: Mapping[str, str],
    connections: int,
    seconds: int,
    script: Path,
) -> Sample:
    """Let wrk GET the paths one after the other over some connections.

    Raises:
        BenchmarkFailed: wrk is not installed or broke down.
    """
    script.write_text(wrk_script(paths, headers))
    before = _children_cpu_seconds()
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s"]
    command += ["--timeout", f"{WRK_TIMEOUT_SECONDS}s", "-s", str(script)]
    try:
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{port}"],
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_SECONDS + seconds,
        )
    except FileNotFoundError as error:
        raise BenchmarkFailed("wrk is not installed (Debian: wrk)") from error
    if done.returncode:
        raise BenchmarkFailed(f"wrk broke down: {done.stdout} {done.stderr}")
    return parse_wrk(done.stdout, cpu_seconds=_children_cpu_seconds() - before)


def wrk_script(paths: list[str], headers: Mapping[str, str]) -> str:
    """Return the Lua that asks for the paths in turn and reports in one line."""
    return _SCRIPT % {
        "paths": ", ".join(json.dumps(path) for path in paths),
        "headers": ", ".join(f"[{json.dumps(n)}] = {json.dumps(v)}" for n, v in headers.items()),
    }


def parse_wrk(output: str, *, cpu_seconds: float) -> Sample:
    """Read the line that the script reports.

    Raises:
        BenchmarkFailed: there is none.
    """
    for line in output.splitlines():
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
            return Sample(
                requests=found["requests"] - found["failed"],
                failures=found["failed"] + found["broken"],
                seconds=found["microseconds"] / 1e6,
                p50_ms=found["p50"] / 1000,
                p99_ms=found["p99"] / 1000,
                body_bytes=found["bytes"],
                client_cpu_seconds=cpu_seconds,
            )
    raise BenchmarkFailed(f"wrk reported nothing: {output[-1000:]}")


def last_line(text: str) -> str:
    """Return the line that says most: the last one."""
    lines = text.strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _children_cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
