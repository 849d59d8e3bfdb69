"""A client of other registries: what mirroring needs of the distribution protocol.

Reads tags, manifests and blobs of any registry that speaks distribution-spec 1.x or Docker's
registry API v2, with Basic or Bearer authentication. It knows nothing of our own registry.
"""
