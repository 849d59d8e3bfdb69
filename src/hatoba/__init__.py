"""Hatoba: a container registry platform and the Kubernetes operator that runs it."""

__version__ = "0.1.0"
QUAY_VERSION = "3.6.0"
"""The release of Quay whose contract is served; `status.currentVersion` shows it."""
