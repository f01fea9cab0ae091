"""The built-in controllers that kube-controller-manager would run, in embedded mode only.

Namespace, Deployment, ReplicaSet, StatefulSet, DaemonSet, Job, CronJob, HorizontalPodAutoscaler, PodDisruptionBudget,
PersistentVolumeClaim, EndpointSlice and garbage collection. They create and delete objects; they never start a process (that is
`node`).
"""
