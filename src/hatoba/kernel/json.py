"""Names for decoded JSON.

Kubernetes objects, manifests and foreign API bodies are kept as plain dictionaries where every
byte of what somebody else wrote has to survive. These aliases mark such places; everything that
is ours is a dataclass, a msgspec struct or a pydantic model instead.
"""

from typing import Any, TypeAlias

JsonObject: TypeAlias = dict[str, Any]
JsonValue: TypeAlias = Any
