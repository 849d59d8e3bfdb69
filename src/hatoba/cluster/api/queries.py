"""Query parameters into options; what is wrong with them is said as a real server says it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from hatoba.cluster.api.metadata import forbidden, invalid, required, unsupported
from hatoba.cluster.api.requests import Deletion, Write
from hatoba.cluster.api.status import (
    About,
    BadRequest,
    Cause,
    InternalError,
    Invalid,
)
from hatoba.cluster.objects import Propagation
from hatoba.kernel.json import JsonObject

Query = Mapping[str, str]
VersionMatch = Literal["", "Exact", "NotOlderThan"]
_PROPAGATIONS: Final = ("Background", "Foreground", "Orphan")
_LIST_OPTIONS: Final = About(group="meta.k8s.io", kind="ListOptions")


def is_true(value: str | None) -> bool:
    """Whether a query parameter is set, in the way Go's clients mean it."""
    return value is not None and value.lower() not in ("false", "0")


def integer(query: Query, name: str) -> int | None:
    """Return a number from the query.

    Raises:
        BadRequest: it is none.
    """
    text = query.get(name)
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError as error:
        raise BadRequest(f'strconv.ParseInt: parsing "{text}": invalid syntax') from error


def resource_version(text: str) -> int | None:
    """Return a resource version from the query, None when it is not given.

    Raises:
        InternalError: it is no number (a real server answers 500 too).
    """
    if not text:
        return None
    if not text.isdecimal():
        raise InternalError(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}":'
            " invalid syntax"
        )
    return int(text)


@dataclass(slots=True, frozen=True, kw_only=True)
class ListQuery:
    """The options of lists and watches."""

    labels: str
    fields: str
    limit: int
    continue_token: str
    version: int | None
    match: VersionMatch
    watch: bool
    bookmarks: bool
    initial_events: bool | None
    timeout_seconds: int | None


def parse_list(query: Query, *, watch: bool) -> ListQuery:
    """Parse the options of a list or watch.

    Raises:
        StatusError: they contradict each other or are malformed.
    """
    timeout = integer(query, "timeoutSeconds")
    limit = integer(query, "limit") or 0
    match = query.get("resourceVersionMatch", "")
    initial = query.get("sendInitialEvents")
    initial_events = None if initial is None else is_true(initial)
    text = query.get("resourceVersion", "")
    token = query.get("continue", "")
    causes = (
        _watch_causes(match, initial_events=initial_events)
        if watch
        else _list_causes(match, text, token, initial_events=initial_events)
    )
    if causes:
        raise Invalid.of(_LIST_OPTIONS, causes)
    return ListQuery(
        labels=query.get("labelSelector", ""),
        fields=query.get("fieldSelector", ""),
        limit=max(limit, 0),
        continue_token=token,
        version=resource_version(text),
        match=match,  # type: ignore[arg-type]  # checked by the causes
        watch=watch,
        bookmarks=is_true(query.get("allowWatchBookmarks")),
        initial_events=initial_events,
        timeout_seconds=timeout,
    )


def _watch_causes(match: str, *, initial_events: bool | None) -> list[Cause]:
    field = "resourceVersionMatch"
    if initial_events is not None:
        if not match:
            sentence = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
            return [forbidden(field, sentence)]
        return [unsupported(field, match, ("NotOlderThan",))] if match != "NotOlderThan" else []
    causes = []
    if match:
        sentence = (
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        )
        causes.append(forbidden(field, sentence))
        if match != "NotOlderThan":
            causes.append(unsupported(field, match, ("NotOlderThan",)))
    return causes


def _list_causes(
    match: str, version: str, token: str, *, initial_events: bool | None
) -> list[Cause]:
    field = "resourceVersionMatch"
    causes = []
    if initial_events is not None:
        causes.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if not match:
        return causes
    if not version:
        causes.append(
            forbidden(field, "resourceVersionMatch is forbidden unless resourceVersion is provided")
        )
    if token:
        causes.append(
            forbidden(field, "resourceVersionMatch is forbidden when continue is provided")
        )
    if match not in ("Exact", "NotOlderThan"):
        causes.append(unsupported(field, match, ("Exact", "NotOlderThan", "")))
    if match == "Exact" and version == "0":
        causes.append(
            forbidden(field, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
        )
    return causes


def parse_write(
    query: Query, *, options: str, version: str, agent: str, subresource: str, applies: bool = False
) -> Write:
    """Parse the options of a create, update or patch; `options` names their kind in messages.

    Raises:
        Invalid: a value is not offered.
    """
    causes = _dry_run_causes(query)
    validation = query.get("fieldValidation", "")
    if validation not in ("", "Ignore", "Warn", "Strict"):
        causes.append(unsupported("fieldValidation", validation, ("", "Ignore", "Strict", "Warn")))
    manager = query.get("fieldManager", "")
    if len(manager) > 128:
        causes.append(
            Cause(
                reason="FieldValueTooLong",
                message="Too long: may not be more than 128 bytes",
                field="fieldManager",
            )
        )
    if applies and not manager:
        causes.append(required("fieldManager", "is required for apply patch"))
    if "force" in query and not applies and options == "PatchOptions":
        causes.append(forbidden("force", "may not be specified for non-apply patch"))
    if causes:
        raise Invalid.of(About(group="meta.k8s.io", kind=options), causes)
    return Write(
        manager=manager or default_manager(agent),
        subresource=subresource,
        version=version,
        dry_run="dryRun" in query,
        force=is_true(query.get("force")),
        field_validation=validation or "Warn",  # type: ignore[arg-type]  # checked above
    )


def _dry_run_causes(query: Query) -> list[Cause]:
    value = query.get("dryRun")
    if value is None or value == "All":
        return []
    return [
        Cause(
            reason="FieldValueNotSupported",
            message=f'Unsupported value: []string{{"{value}"}}: supported values: "All"',
            field="dryRun",
        )
    ]


def default_manager(agent: str) -> str:
    """Return the manager of writers that do not name theirs: the first word of the user agent."""
    return agent.partition("/")[0][:128] or "unknown"


def parse_deletion(query: Query, body: JsonObject | None) -> Deletion:
    """Parse DeleteOptions from the body, or else from the query.

    Raises:
        StatusError: they are malformed.
    """
    options = body or {}
    grace = options.get("gracePeriodSeconds", integer(query, "gracePeriodSeconds"))
    propagation = options.get("propagationPolicy", query.get("propagationPolicy"))
    orphans = options.get("orphanDependents")
    causes = _deletion_causes(propagation)
    if orphans is not None and propagation is not None:
        sentence = "orphanDependents and deletionPropagation cannot be both set"
        causes.append(invalid("propagationPolicy", f'"{propagation}"', sentence))
    elif orphans is not None:
        propagation = "Orphan" if orphans else "Background"
    dry_run = options.get("dryRun") or ([query["dryRun"]] if "dryRun" in query else [])
    causes += [c for value in dry_run for c in _dry_run_causes({"dryRun": value})]
    if causes:
        raise Invalid.of(About(group="meta.k8s.io", kind="DeleteOptions"), causes)
    preconditions = options.get("preconditions") or {}
    chosen: Propagation | None = propagation
    return Deletion(
        propagation=chosen,
        uid=preconditions.get("uid"),
        resource_version=preconditions.get("resourceVersion"),
        grace_seconds=grace,
        dry_run=bool(dry_run),
    )


def _deletion_causes(propagation: str | None) -> list[Cause]:
    causes = []
    if propagation is not None and propagation not in _PROPAGATIONS:
        causes.append(
            unsupported(
                "propagationPolicy", propagation, ("Foreground", "Background", "Orphan", "nil")
            )
        )
    return causes
