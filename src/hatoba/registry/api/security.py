"""What the scanner found: /repository/<repository>/manifest/<digest>/security."""

from hatoba.kernel.json import JsonValue
from hatoba.registry.api.call import Call, Needs, Row
from hatoba.registry.api.problems import HiddenNotFound, ScannerFailed
from hatoba.registry.api.repository import tag_place
from hatoba.registry.scanning.errors import ScannerUnavailable


async def show_security(call: Call) -> JsonValue:
    """Quay API: GET .../manifest/<digest>/security."""
    scanning = call.rooms.scanning
    if scanning is None:
        raise HiddenNotFound("The security scanner is off")
    manifest = await call.rooms.tagging.manifest(
        tag_place(call.repository), digest=call.path("digest")
    )
    try:
        report = await scanning.report(manifest_id=manifest.id, digest=manifest.digest)
    except ScannerUnavailable as error:
        raise ScannerFailed(error.message) from error
    return {"status": report.status, "data": report.data}


ROWS = (
    Row(
        "GET",
        "/repository/{repository:path}/manifest/{digest}/security",
        show_security,
        Needs.REPO_READ,
        takes_basic=True,
    ),
)
