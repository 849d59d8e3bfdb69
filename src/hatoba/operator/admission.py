"""What admission of the cluster does to our writes: it refuses one, or cannot even be asked.

A webhook or policy belongs to somebody else, so that neither our rights nor our objects are the
fault; whoever reads the status has to hear which one it was. Raised by `kubernetes`, told by the
reconciler.
"""

import re
from datetime import datetime, timedelta
from typing import Final

from hatoba.kernel.errors import Forbidden, HatobaError, Unavailable
from hatoba.operator.model import Reason, RolloutBlocked

PATIENCE: Final = timedelta(seconds=30)
"""So long a webhook may be away before that is told: its own pods roll, too."""

_DENIED: Final = re.compile(
    r"admission webhook \"[^\"]+\" denied the request|^ValidatingAdmissionPolicy '[^']+' .*denied"
)
_BROKEN: Final = re.compile(r"failed calling webhook \"[^\"]+\"")
"""Source: Kubernetes 1.33, apiserver/pkg/admission/plugin/webhook/errors and .../policy."""


class AdmissionDenied(Forbidden):
    """A webhook or policy does not let an object pass."""

    def __init__(self, message: str, *, subject: str) -> None:
        super().__init__(message)
        self.subject = subject
        """Kind and name of the object."""


class AdmissionBroken(Unavailable):
    """A webhook that has to be asked does not answer."""

    def __init__(self, message: str, *, subject: str) -> None:
        super().__init__(message)
        self.subject = subject
        """Kind and name of the object."""


def admission_error(message: str, *, subject: str) -> HatobaError | None:
    """Return the error that a refusal of the API is, if it was admission that refused."""
    if _DENIED.search(message):
        return AdmissionDenied(message, subject=subject)
    if _BROKEN.search(message):
        return AdmissionBroken(message, subject=subject)
    return None


def blocked_by(error: AdmissionDenied | AdmissionBroken) -> RolloutBlocked:
    """Say which object could not be written, and who has to be asked."""
    if isinstance(error, AdmissionDenied):
        step = "change what it demands, or exempt the objects of the registry from it"
    else:
        step = "bring the webhook that it names back, or delete its configuration"
    return RolloutBlocked(
        Reason.CREATION_FAILED,
        "all Kubernetes objects not created/updated successfully: "
        f"{error.subject}: {error.message.rstrip('.')}",
        step=step,
    )


class Outages:
    """Since when webhooks have been away, by namespace and name of the registry."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, str], datetime] = {}

    def is_lasting(self, key: tuple[str, str], *, now: datetime) -> bool:
        """Note that a webhook did not answer; tell whether that has to be told."""
        return now - self._since.setdefault(key, now) >= PATIENCE

    def over(self, key: tuple[str, str]) -> None:
        """Note that a pass met no such outage."""
        self._since.pop(key, None)
