"""The kubelet: pods of this node become local processes.

`agent` follows the pods and owns one `worker` each; a worker decides, `containers` starts programs
below shims, `status` tells the API what became of them. Nothing here knows how the API server,
the controllers or the router work: they meet in `hatoba.cluster.objects`.
"""
