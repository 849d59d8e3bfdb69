"""The quay-config-editor pod: a form for config.yaml, and its hand-over to the operator.

The form is made from the one schema in `hatoba.config`; the registry's bundle is never written
here: the operator, which checks again, makes the next one.
"""
