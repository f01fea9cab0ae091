"""Labels and annotations by which a Rollout's objects are recognised: upstream's words, and two of ours."""

from __future__ import annotations

HASH_LABEL = "rollouts-pod-template-hash"
MANAGED_BY = "argo-rollouts.argoproj.io/managed-by-rollouts"
REVISION = "rollout.argoproj.io/revision"
REVISION_HISTORY = "rollout.argoproj.io/revision-history"
DESIRED_REPLICAS = "rollout.argoproj.io/desired-replicas"
SCALE_DOWN_DEADLINE = "scale-down-deadline"
EPHEMERAL_METADATA = "rollout.argoproj.io/ephemeral-metadata"
ROLLOUT_TYPE = "rollout-type"
STEP_INDEX = "step-index"
TRACKING_ID = "argocd.argoproj.io/tracking-id"

WORKLOAD_GENERATION = "rollout.argoproj.io/workload-generation"

APPLIED_WEIGHT = "fairway.dev/applied-weight"
"""On a canary Ingress: the weight that the proxy confirmed."""
APPLIED_GENERATION = "fairway.dev/applied-generation"
"""On a VirtualService or HTTPRoute: the generation that the proxy serves."""
TEMPLATE_SHA = "fairway.dev/pod-template-sha256"
"""On a ReplicaSet: digest of the pod template as the Rollout states it, before the API filled in defaults."""

MANAGER = "rollouts-controller"
