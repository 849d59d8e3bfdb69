"""The registry: what the quay-app, quay-app-upgrade and quay-mirror pods run."""
