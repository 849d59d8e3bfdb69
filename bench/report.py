"""The table: Markdown, for the terminal and for `results.md` alike."""

from collections.abc import Sequence
from typing import Final

from bench.model import Figures, Verdict
from bench.rows import ContestResult, Failure, Item, Results, TrialResult

CLIENT_BOUND: Final = 0.85
"""A client that is busier than this share of a CPU may be what limits the rate."""
_HEADER: Final = (
    "work", "c", "requests/s", "peer", "p50 ms", "peer", "p99 ms", "peer", "CPU ms/req", "peer",
    "RSS (PSS) MiB", "peer", "client", "spread", "floors",
)  # fmt: skip


def contest_table(items: Sequence[ContestResult]) -> str:
    """Return the contests as a table."""
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER))]
    lines += [_line(contest_cells(item)) for item in items]
    return "\n".join(lines)


def contest_cells(item: ContestResult) -> list[str]:
    """Return the cells of one contest."""
    ours, peer = item.ours, item.peer
    megabytes = item.contest.shows_megabytes
    return [
        item.contest.work,
        str(item.contest.concurrency),
        _rate(ours, megabytes=megabytes),
        _rate(peer, megabytes=megabytes),
        _number(ours.p50_ms),
        _number(peer.p50_ms),
        _number(ours.p99_ms),
        _number(peer.p99_ms),
        _number(ours.cpu_ms),
        _number(peer.cpu_ms),
        f"{ours.rss_mib:.0f} ({ours.pss_mib:.0f})",
        f"{peer.rss_mib:.0f} ({peer.pss_mib:.0f})",
        _client(ours, peer),
        f"{ours.spread:.0%} / {peer.spread:.0%}",
        "; ".join([*map(verdict_text, item.verdicts), *_failures(ours, peer)]),
    ]


def trial_list(items: Sequence[TrialResult]) -> str:
    """Return the trials as a list."""
    lines = []
    for item in items:
        lines.append(f"* {item.trial.title}")
        for finding in item.findings:
            verdict = f" **{verdict_text(finding.verdict)}**" if finding.verdict else ""
            lines.append(f"  * {finding.label}: {finding.text}{verdict}")
    return "\n".join(lines)


def page(results: Results, *, facts: Sequence[tuple[str, str]]) -> str:
    """Return the whole page of results."""
    contests = [item for item in results.items if isinstance(item, ContestResult)]
    trials = [item for item in results.items if isinstance(item, TrialResult)]
    failures = [item for item in results.items if isinstance(item, Failure)]
    parts = ["# Results", "\n".join(f"* {name}: {value}" for name, value in facts)]
    if contests:
        parts += ["## Beside docker-registry", contest_table(contests)]
    if trials:
        parts += ["## Hatoba alone", trial_list(trials)]
    if failures:
        lines = [f"* {failure.key}: {failure.reason}" for failure in failures]
        parts += ["## Not measured", "\n".join(lines)]
    return "\n\n".join(parts) + "\n"


def one_line(item: Item) -> str:
    """Return what is printed as soon as a row is done."""
    match item:
        case ContestResult():
            cells = contest_cells(item)
            return f"{cells[0]} c={cells[1]}: {cells[2]} : {cells[3]}; {cells[-1]}"
        case TrialResult():
            return trial_list([item])
        case Failure():
            return f"{item.key}: NOT MEASURED: {item.reason}"


def verdict_text(verdict: Verdict) -> str:
    """Return a floor and whether it holds."""
    return f"{verdict.text} {'ok' if verdict.holds else 'FAIL'}"


def _rate(found: Figures, *, megabytes: bool) -> str:
    shown = _number(found.rate)
    return f"{shown} ({found.megabytes_per_second:.0f} MB/s)" if megabytes else shown


def _client(ours: Figures, peer: Figures) -> str:
    bound = " (limits)" if max(ours.client_share, peer.client_share) > CLIENT_BOUND else ""
    return f"{ours.client_share:.0%} / {peer.client_share:.0%}{bound}"


def _failures(ours: Figures, peer: Figures) -> list[str]:
    if not ours.failures and not peer.failures:
        return []
    return [f"failed requests {ours.failures} : {peer.failures}"]


def _number(value: float) -> str:
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
