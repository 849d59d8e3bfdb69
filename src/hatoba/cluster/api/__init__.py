"""The embedded cluster's API server: store, semantics of the verbs, and the HTTP edge over them.

`verbs` is the heart: synchronous, on the event loop's thread, so that each request is one atomic
step. `local` offers it to the cluster's own controllers, `server` to the world over TLS. What is
a pure function of documents (patches, apply, selectors, tables, schemas) lives in
`hatoba.cluster.formats`.
"""
