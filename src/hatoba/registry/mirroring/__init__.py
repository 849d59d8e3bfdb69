"""The room of repository mirroring: what to copy from where, when it is due, and the copying.

The API edge changes configurations, the mirror worker claims those that are due and copies
matching tags through the content room. Source of the rules: Quay's repository mirroring.
"""
