"""Deployments: one ReplicaSet per revision of the pod template, and the way from one to the next.

`revisions` says which ReplicaSet is which, `rollout` how many pods each should have, `status`
what to report; `controller` reads, asks these three and writes.
"""
