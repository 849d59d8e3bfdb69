"""The edge of the embedded cluster: Routes and Ingresses, each on a port of its own.

What an OpenShift router or an ingress controller does on a real cluster: it admits Routes, ends
TLS and passes requests on to the ready pods of a Service. Started by the cluster process; reads
and writes through `hatoba.cluster.objects` only.
"""
