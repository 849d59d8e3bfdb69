"""What the cluster's owner decides about its controllers."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(slots=True, frozen=True, kw_only=True)
class ControllerSettings:
    """The values a laptop's cluster differs in from another one's, or a test's."""

    node_name: str
    volumes: Path
    """The directory below which provisioned volumes lie."""
    ca_pem: str = ""
    """The certificate authority that pods find in the ConfigMap `kube-root-ca.crt`."""
    autoscaler_period: float = 15.0
    event_ttl: float = 3600.0
    expiry_period: float = 60.0
    job_backoff: float = 10.0
    """Seconds until a Job's first failed pod is replaced; doubles up to ten minutes."""
