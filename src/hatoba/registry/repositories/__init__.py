"""Repositories, their permissions, and their tags and manifests as the API shows them."""
