"""The one schema of config.yaml, for registry, operator, editor and documentation.

`schema` says what each key means, `loader` reads a directory, `validation` explains what is wrong
with one, `components` says which keys belong to which component of a QuayRegistry.
"""
