"""The audit log: .../logs and .../aggregatelogs of repositories, organizations, people and all.

Spec: Quay API: `starttime` and `endtime` are `%m/%d/%Y` in UTC, the end's day included; without
them, or when they cannot be read, the last day.
"""

from datetime import UTC, datetime, timedelta

from hatoba.kernel.clock import rfc1123
from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.api.call import Call, Needs, Row, reject
from hatoba.registry.api.listing import seal, unseal
from hatoba.registry.api.problems import BadRequest
from hatoba.registry.api.views import AvatarKind, avatar
from hatoba.registry.audit.reading import LogRecord, Party, Place, Wanted

DATE_FORMAT = "%m/%d/%Y"
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _date(call: Call, name: str) -> datetime | None:
    text = call.request.query_params.get(name)
    if not text:
        return None
    try:
        return datetime.strptime(text, DATE_FORMAT).replace(tzinfo=UTC)
    except ValueError:
        return None


async def _wanted(call: Call) -> Wanted:
    """Return what the path and the query ask for."""
    now = call.rooms.clock.now()
    start, end = _date(call, "starttime") or now - DAY, _date(call, "endtime") or now
    if end < start and "/superuser/" not in call.request.url.path:
        raise reject("The browser (or proxy) sent a request that this server could not understand.")
    return Wanted(
        start=start,
        end=end + DAY,
        namespace_id=_namespace_id(call),
        repository_id=call.repository.id if "repository" in call.request.path_params else None,
        performer_id=await _performer_id(call),
    )


def _namespace_id(call: Call) -> int | None:
    if "org" in call.request.path_params:
        return call.organization.id
    return call.account.id if "/user/" in call.request.url.path else None


async def _performer_id(call: Call) -> int | None:
    name = call.request.query_params.get("performer")
    if not name:
        return None
    account = await call.rooms.users.find_any(name)
    if account is None:
        raise BadRequest(f"There is no user {name}")
    return account.id


def _view(record: LogRecord, *, with_namespace: bool) -> JsonObject:
    view: JsonObject = {
        "kind": record.kind,
        "metadata": record.metadata,
        "ip": record.ip,
        "datetime": rfc1123(record.at),
    }
    if record.performer is not None:
        view["performer"] = _performer(record.performer)
    if with_namespace and record.namespace is not None:
        view["namespace"] = _namespace(record.namespace)
    return view


def _performer(party: Party) -> JsonObject:
    kind: AvatarKind = "robot" if party.is_robot else "user"
    return {
        "kind": "user",
        "name": party.name,
        "is_robot": party.is_robot,
        "avatar": avatar(name=party.name, email=party.email, kind=kind),
    }


def _namespace(party: Party) -> JsonObject:
    kind: AvatarKind = "org" if party.is_organization else "user"
    return {
        "kind": kind,
        "name": party.name,
        "avatar": avatar(name=party.name, email=party.email, kind=kind),
    }


async def list_logs(call: Call) -> JsonValue:
    """Quay API: GET .../logs."""
    wanted = await _wanted(call)
    begins = unseal(call)
    after = None
    if len(begins) == 2:
        after = Place(at=EPOCH + timedelta(microseconds=begins[0]), id=begins[1])
    records, last = await call.rooms.audit_reader.page(wanted, after=after)
    with_namespace = "/superuser/" in call.request.url.path
    view: JsonObject = {
        "start_time": rfc1123(wanted.start),
        "end_time": rfc1123(wanted.end),
        "logs": [_view(record, with_namespace=with_namespace) for record in records],
    }
    if last is not None:
        view["next_page"] = seal(call, (last.at - EPOCH) // timedelta(microseconds=1), last.id)
    return view


async def count_logs(call: Call) -> JsonValue:
    """Quay API: GET .../aggregatelogs."""
    counts = await call.rooms.audit_reader.counts(await _wanted(call))
    return {
        "aggregated": [
            {"kind": kind, "count": number, "datetime": rfc1123(day)}
            for kind, number, day in counts
        ]
    }


_PLACES = (
    ("/repository/{repository:path}", Needs.REPO_ADMIN),
    ("/organization/{org}", Needs.ORG_ADMIN),
    ("/user", Needs.USER_ADMIN),
    ("/superuser", Needs.SUPERUSER),
)

ROWS = tuple(
    Row("GET", f"{place}/{name}", handler, needs, is_fresh=needs is Needs.SUPERUSER)
    for place, needs in _PLACES
    for name, handler in (("logs", list_logs), ("aggregatelogs", count_logs))
)
