"""Getting a token: for a robot, a person, nobody; and how many passwords are hashed meanwhile."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from bench.groups.reading import script_file
from bench.load.clients import run_lean, run_wrk
from bench.load.spec import Cycle, LoadSpec, Part
from bench.model import BenchmarkFailed, Finding, Verdict
from bench.processes import cpu_seconds
from bench.rows import Context, Trial
from bench.servers.ours import Ours, basic

CONNECTIONS: Final = 16
P50_LIMIT_MS: Final = 5.0
HASHES: Final = "hatoba_accounts_password_hashes_total"
HASHES_LIMIT: Final = 1
"""By all workers: what one has seen match, the others know."""
COLD_REQUESTS: Final = 200
COLD_SECONDS: Final = 20.0
PUBLIC: Final = "bench/public"
_PASSWORD: Final = "benchmark-2"  # noqa: S105 -- of a registry that lives for minutes on loopback


@dataclass(slots=True, frozen=True, kw_only=True)
class Tokens:
    """Asks for tokens with credentials that are new to the registry."""

    context: Context
    credentials: Callable[[Ours], dict[str, str]]

    def __call__(self, ours: Ours) -> Sequence[Finding]:
        """Measure; the cold burst comes first, so that concurrent first sights are counted.

        Raises:
            BenchmarkFailed: a request failed.
        """
        plan = self.context.plan
        headers = self.credentials(ours)
        path = ours.auth_path(f"repository:{PUBLIC}:pull")
        before = ours.metric(HASHES) or 0.0
        cycle = Cycle(method="GET", paths=[path], headers=headers)
        cold = run_lean(
            LoadSpec(
                port=ours.port,
                parts=[Part(connections=CONNECTIONS, work=cycle)],
                seconds=COLD_SECONDS,
                limit=COLD_REQUESTS,
            )
        )
        used = cpu_seconds(ours.roots)
        warm = run_wrk(
            port=ours.port,
            paths=[path],
            headers=headers,
            connections=CONNECTIONS,
            seconds=plan.seconds,
            script=script_file(self.context),
        )
        used = cpu_seconds(ours.roots) - used
        failed = cold.failures + warm.failures
        if failed or not warm.requests:
            raise BenchmarkFailed(f"{failed} requests for tokens failed, {warm.requests} answered")
        return [
            Finding(
                label=f"warm, c={CONNECTIONS}",
                text=f"{warm.rate:.0f} requests/s, p50 {warm.p50_ms:.2f} ms, p99 {warm.p99_ms:.2f}"
                f" ms, CPU {used * 1000 / warm.requests:.2f} ms/req",
                verdict=Verdict(
                    text=f"p50 {warm.p50_ms:.2f} ms (< {P50_LIMIT_MS:g})",
                    holds=warm.p50_ms < P50_LIMIT_MS,
                ),
            ),
            Finding(
                label=f"cold, the first {cold.requests} requests",
                text=f"p50 {cold.p50_ms:.2f} ms, p99 {cold.p99_ms:.2f} ms",
            ),
            _hashes(before, ours.metric(HASHES)),
        ]


def rows(context: Context) -> Sequence[Trial]:
    """Return the rows of this group."""
    kinds = (("robot", _robot), ("user", _user), ("anonymous", _nobody))
    return [
        Trial(
            key=f"auth-{kind}",
            title=f"/v2/auth for {kind}",
            run=Tokens(context=context, credentials=credentials),
        )
        for kind, credentials in kinds
    ]


def _hashes(before: float, after: float | None) -> Finding:
    label = "password hashes for the one credential, cold start included"
    if after is None:
        return Finding(label=label, text=f"the registry has no metric {HASHES}")
    count = after - before
    text = f"{count:.0f} by all workers (<= {HASHES_LIMIT})"
    return Finding(label=label, text="", verdict=Verdict(text=text, holds=count <= HASHES_LIMIT))


def _public(ours: Ours) -> None:
    namespace, _, name = PUBLIC.partition("/")
    if not ours.has_repository(PUBLIC):
        ours.api(
            "POST",
            "/repository",
            namespace=namespace,
            repository=name,
            visibility="public",
            description="",
        )


def _robot(ours: Ours) -> dict[str, str]:
    _public(ours)
    made = ours.api("PUT", "/user/robots/tokens")
    return basic(str(made["name"]), str(made["token"]))


def _user(ours: Ours) -> dict[str, str]:
    _public(ours)
    ours.api("POST", "/superuser/users/", username="person", email="person@example.com")
    ours.api("PUT", "/superuser/users/person", password=_PASSWORD)
    return basic("person", _PASSWORD)


def _nobody(ours: Ours) -> dict[str, str]:
    _public(ours)
    return {}
