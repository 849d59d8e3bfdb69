"""Compare an index report with the advisories in force."""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from hatoba.scanner.matcher.ecosystems import ECOSYSTEMS, Ecosystem, is_affected
from hatoba.scanner.matcher.store import AdvisoryStore
from hatoba.scanner.metrics import MATCH_SECONDS
from hatoba.scanner.models import IndexReport, Package, Vulnerability, VulnerabilityReport

CANDIDATES_IN_LOOP = 2000
"""More comparisons than this are made in a thread, to keep the loop answering."""


@dataclass(slots=True, frozen=True, kw_only=True)
class Matcher:
    """Makes vulnerability reports."""

    advisories: AdvisoryStore

    async def is_initialised(self) -> bool:
        """Tell whether there is anything to compare with."""
        return await self.advisories.is_initialised()

    async def report(self, index: IndexReport) -> VulnerabilityReport:
        """Return the vulnerabilities of an image; nothing is kept, advisories change."""
        with MATCH_SECONDS.time():
            found: dict[str, Vulnerability] = {}
            affected: dict[str, list[str]] = {}
            for distribution_id, packages in _by_distribution(index).items():
                distribution = index.distributions[distribution_id]
                ecosystem = ECOSYSTEMS.get(distribution.did)
                if ecosystem is None:
                    continue
                candidates = await self.advisories.about(
                    _names(packages.values()),
                    did=ecosystem.did,
                    release=ecosystem.release(distribution),
                )
                for package_id, hits in await _compare(packages, candidates, ecosystem):
                    affected[package_id] = [advisory.id for advisory in hits]
                    found |= {advisory.id: advisory for advisory in hits}
        return VulnerabilityReport(
            manifest_hash=index.manifest_hash,
            packages=index.packages,
            distributions=index.distributions,
            repository=index.repository,
            environments=index.environments,
            vulnerabilities=found,
            package_vulnerabilities=affected,
        )


def _by_distribution(index: IndexReport) -> dict[str, dict[str, Package]]:
    grouped: dict[str, dict[str, Package]] = defaultdict(dict)
    for package_id, environments in index.environments.items():
        for environment in environments:
            if environment.distribution_id:
                grouped[environment.distribution_id][package_id] = index.packages[package_id]
    return grouped


def _names(packages: Iterable[Package]) -> list[str]:
    """Return the names that advisories may speak of, each once."""
    return list(
        dict.fromkeys(name for package in packages for name in (package.name, package.source.name))
    )


async def _compare(
    packages: Mapping[str, Package], candidates: Sequence[Vulnerability], ecosystem: Ecosystem
) -> list[tuple[str, list[Vulnerability]]]:
    if len(candidates) > CANDIDATES_IN_LOOP:
        return await asyncio.to_thread(compare_blocking, packages, candidates, ecosystem)
    return compare_blocking(packages, candidates, ecosystem)


def compare_blocking(
    packages: Mapping[str, Package], candidates: Sequence[Vulnerability], ecosystem: Ecosystem
) -> list[tuple[str, list[Vulnerability]]]:
    """Return, for each package that is vulnerable, the advisories that say so."""
    by_name: dict[str, list[Vulnerability]] = defaultdict(list)
    for advisory in candidates:
        by_name[advisory.package.name].append(advisory)
    hits = []
    for package_id, package in packages.items():
        names = dict.fromkeys((package.name, package.source.name))
        vulnerable = [
            advisory
            for name in names
            for advisory in by_name[name]
            if is_affected(package, advisory, ecosystem=ecosystem)
        ]
        if vulnerable:
            hits.append((package_id, vulnerable))
    return hits
