"""The embedded cluster of a laptop: Kubernetes API, controllers, kubelet, edge router.

One process, one event loop, for one machine. Everything in it talks through `objects.Objects`,
the API without HTTP, so that the semantics that a remote client sees (versions, ownership,
finalizers, watches) are the ones our own controllers live by. Nothing outside this package but
the command line knows that it exists.
"""
