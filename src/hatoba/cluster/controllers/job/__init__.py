"""Jobs: pods that are to end, a number of times, with a limited number of failures.

`progress` decides (pure): what the pods mean for the Job, what to create or delete, which
conditions follow. `controller` reads, asks and writes. Finished pods carry a finalizer until they
are counted, so that none is counted twice or lost when somebody deletes it early.
"""
