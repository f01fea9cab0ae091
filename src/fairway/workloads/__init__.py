"""The built-in controllers that kube-controller-manager would run, in embedded mode only.

Namespace, Deployment, ReplicaSet, Job, EndpointSlice and garbage collection. They create and delete objects; they never
start a process (that is `node`).
"""
