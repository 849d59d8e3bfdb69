"""Labels: /repository/<repository>/manifest/<digest>/labels."""

from typing import Literal

import msgspec
from starlette.responses import Response

from hatoba.kernel.json import JsonObject, JsonValue
from hatoba.registry.api.answers import JsonAnswer
from hatoba.registry.api.call import Call, Needs, Row, no_content
from hatoba.registry.api.repository import require_writable, tag_place
from hatoba.registry.content.labelling import LabelView


class LabelIn(msgspec.Struct):
    """Body of POST .../labels."""

    key: str
    value: str
    media_type: Literal["text/plain", "application/json", None]  # noqa: PYI061 -- the message lists all


def _view(label: LabelView) -> JsonObject:
    return {
        "id": label.id,
        "key": label.key,
        "value": label.value,
        "source_type": label.source,
        "media_type": label.media_type,
    }


async def list_labels(call: Call) -> JsonValue:
    """Quay API: GET .../labels."""
    found = await call.rooms.labelling.list_labels(
        tag_place(call.repository),
        digest=call.path("digest"),
        prefix=call.request.query_params.get("filter", ""),
    )
    return {"labels": [_view(label) for label in found]}


async def add_label(call: Call) -> Response:
    """Quay API: POST .../labels."""
    require_writable(call)
    wanted = await call.body(LabelIn)
    added = await call.rooms.labelling.add_label(
        tag_place(call.repository),
        digest=call.path("digest"),
        key=wanted.key,
        value=wanted.value,
        media_type=wanted.media_type,
        actor=call.identity.actor,
    )
    path = f"/api/v1/repository/{call.path('repository')}/manifest/{call.path('digest')}/labels"
    headers = {"Location": f"{path}/{added.id}"}
    return JsonAnswer({"label": _view(added)}, status_code=201, headers=headers)


async def show_label(call: Call) -> JsonValue:
    """Quay API: GET .../labels/<id>."""
    label = await call.rooms.labelling.find_label(
        tag_place(call.repository), digest=call.path("digest"), label_id=call.path("label")
    )
    return _view(label)


async def delete_label(call: Call) -> Response:
    """Quay API: DELETE .../labels/<id>."""
    require_writable(call)
    await call.rooms.labelling.delete_label(
        tag_place(call.repository),
        digest=call.path("digest"),
        label_id=call.path("label"),
        actor=call.identity.actor,
    )
    return no_content()


_LABELS = "/repository/{repository:path}/manifest/{digest}/labels"

ROWS = (
    Row("GET", _LABELS, list_labels, Needs.REPO_READ),
    Row("POST", _LABELS, add_label, Needs.REPO_WRITE),
    Row("GET", f"{_LABELS}/{{label}}", show_label, Needs.REPO_READ),
    Row("DELETE", f"{_LABELS}/{{label}}", delete_label, Needs.REPO_WRITE),
)
