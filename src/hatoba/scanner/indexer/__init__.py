"""From a manifest's layers to an index report: fetch, take apart, coalesce, keep."""
