"""Horizontal pod autoscaling, version 2: as many pods as their use of CPU and memory asks for.

`usage` turns measurements into a wanted number per metric, `limits` keeps the number from
jumping; both are pure. `controller` measures, asks and scales every period.
"""
