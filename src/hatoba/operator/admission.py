"""What admission of the cluster does to our writes: it refuses one, or cannot even be asked.

A webhook or policy belongs to somebody else, and a namespace that is being deleted takes nothing
new, so that neither our rights nor our objects are the fault; whoever reads the status has to hear
which one it was. Raised by `kubernetes`, told by the reconciler.
"""

import re
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Final

from hatoba.kernel.errors import Forbidden, HatobaError, Unavailable
from hatoba.operator.model import Reason, RolloutBlocked

PATIENCE: Final = timedelta(seconds=30)
"""So long a webhook may be away before that is told: its own pods roll, too."""

_DENIED: Final = re.compile(
    r"admission webhook \"[^\"]+\" denied the request|^ValidatingAdmissionPolicy '[^']+' .*denied"
)
_ENDING: Final = "NamespaceTerminating"
"""Source: Kubernetes 1.33, the cause of a refusal by the admission plugin NamespaceLifecycle."""
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


class NamespaceEnding(Unavailable):
    """Nothing new can be made in a namespace that is being deleted."""


def admission_error(
    message: str, *, subject: str, causes: Collection[str] = ()
) -> HatobaError | None:
    """Return the error that a refusal of the API is, if it was admission that refused.

    Args:
        message: what the API says.
        subject: kind and name of the object.
        causes: the reasons that the API's answer details.
    """
    if _ENDING in causes:
        return NamespaceEnding(message)
    if _DENIED.search(message):
        return AdmissionDenied(message, subject=subject)
    if _BROKEN.search(message):
        return AdmissionBroken(message, subject=subject)
    return None


def blocked_by(error: AdmissionDenied | AdmissionBroken | NamespaceEnding) -> RolloutBlocked:
    """Say what could not be written, and who has to be asked."""
    if isinstance(error, NamespaceEnding):
        return RolloutBlocked(
            Reason.CREATION_FAILED,
            f"the namespace is being deleted: {error.message.rstrip('.')}",
            step="wait for its end, which is the registry's too; if that lasts, `kubectl describe "
            "namespace` says what holds it up",
        )
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
