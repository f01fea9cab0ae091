"""Jobs as Kubernetes Jobs: the second implementation of what runs a job.

The controller's side (`runner`) makes a Job of one pod and a Secret with its order, and follows the pod's log. The pod's side
(`inside`) is the same runner that works on one machine, so a job means the same in both places: it prints what happens as lines
(`report`), and the last line is its result. Everything goes through the cluster's API, so the controller may be anywhere, and
one that was killed reads on where it was. Only what is large goes the other way, by HTTP from the pod (`serving`): commits,
artifacts, caches, images.
"""
