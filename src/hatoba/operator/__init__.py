"""The operator: it turns a QuayRegistry into Kubernetes objects and tells an honest status.

`reconciler` holds the five steps (observe, plan, render, apply, report); `plan`, `render`,
`components` and `status` are pure; `runtime` decides when a registry is looked at. It speaks to
any cluster through its API alone.
"""
