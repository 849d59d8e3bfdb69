"""Which manifests of a family are kept. Pure.

Tags keep what they name. An index keeps its children, a referrer its subject. A referrer that
was pushed by digest has no tag but a hold without an end: it stays as long as its subject does,
and while its subject has not been pushed yet.
"""

from collections.abc import Iterable

from hatoba.registry.retention.models import Family, Node


def kept_nodes(family: Family) -> set[int]:
    """Return the ids of the manifests that must stay."""
    reached = _Reach(family)
    reached.visit(node.id for node in family.nodes.values() if node.is_tagged)
    waiting = [node for node in family.nodes.values() if node.is_held and not node.is_tagged]
    while followers := [node for node in waiting if reached.holds_subject_of(node)]:
        waiting = [node for node in waiting if node not in followers]
        reached.visit(node.id for node in followers)
    return reached.ids


def doomed_nodes(family: Family) -> set[int]:
    """Return the ids of the manifests that can go, all of them at once."""
    return set(family.nodes) - kept_nodes(family)


class _Reach:
    """What is reached, growing along the references."""

    def __init__(self, family: Family) -> None:
        self.ids: set[int] = set()
        self._nodes = family.nodes
        self._by_digest = {node.digest: node.id for node in family.nodes.values()}
        self._children: dict[int, list[int]] = {}
        for parent, child in family.children:
            self._children.setdefault(parent, []).append(child)

    def visit(self, ids: Iterable[int]) -> None:
        pending = [node_id for node_id in ids if node_id in self._nodes]
        while pending:
            node_id = pending.pop()
            if node_id in self.ids:
                continue
            self.ids.add(node_id)
            pending += [child for child in self._children.get(node_id, ()) if child in self._nodes]
            subject = self._nodes[node_id].subject
            if subject in self._by_digest:
                pending.append(self._by_digest[subject])

    def holds_subject_of(self, node: Node) -> bool:
        subject = None if node.subject is None else self._by_digest.get(node.subject)
        return subject is None or subject in self.ids
