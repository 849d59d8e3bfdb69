"""The components of a registry, one file each, in the order of `spec.components`.

Each answers three questions (`contract.ComponentType`): which objects, which configuration keys,
is it healthy. All of it is pure.
"""

from typing import Final

from hatoba.operator.components.clair import CLAIR
from hatoba.operator.components.clairpostgres import CLAIR_POSTGRES
from hatoba.operator.components.horizontalpodautoscaler import AUTOSCALER
from hatoba.operator.components.mirror import MIRROR
from hatoba.operator.components.monitoring import MONITORING
from hatoba.operator.components.objectstorage import OBJECT_STORAGE
from hatoba.operator.components.postgres import POSTGRES
from hatoba.operator.components.quay import QUAY
from hatoba.operator.components.redis import REDIS
from hatoba.operator.components.route import ROUTE
from hatoba.operator.components.tls import TLS

COMPONENTS: Final = (
    POSTGRES,
    CLAIR,
    REDIS,
    AUTOSCALER,
    OBJECT_STORAGE,
    ROUTE,
    MIRROR,
    MONITORING,
    TLS,
)
"""Everything a user can manage or not, in the order of the spec."""

EVERY_COMPONENT: Final = (QUAY, *COMPONENTS, CLAIR_POSTGRES)
