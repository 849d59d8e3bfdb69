"""Reading the specs of backups and restorations, and how people hear that something is missing."""

from typing import TypeVar

from pydantic import BaseModel, ValidationError

from hatoba.kernel.errors import HatobaError
from hatoba.kernel.json import JsonObject
from hatoba.operator.names import MAXIMUM_BACKUP_NAME_LENGTH

Spec = TypeVar("Spec", bound=BaseModel)


class NotReady(HatobaError):
    """Something has to be done by people first; `reason` is one word on what."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


def read_spec(model: type[Spec], obj: JsonObject) -> Spec:
    """Read a spec, which an older definition may have let pass.

    Raises:
        NotReady: it is not valid.
    """
    name = (obj.get("metadata") or {}).get("name", "")
    if len(name) > MAXIMUM_BACKUP_NAME_LENGTH:
        fault = f"the name is longer than {MAXIMUM_BACKUP_NAME_LENGTH} characters"
        raise NotReady("SpecInvalid", f"metadata.name: {fault}")
    try:
        return model.model_validate(obj.get("spec") or {})
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, ("spec", *found["loc"])))
        raise NotReady("SpecInvalid", f"{where}: {found['msg']}") from error
