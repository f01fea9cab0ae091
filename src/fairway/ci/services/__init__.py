"""Service containers without containers: PostgreSQL and Redis as processes of this machine, each job its own.

A service listens on a loopback address of the job's own, at the port that the workflow means. Where the machine allows a
mount namespace, the job has an `/etc/hosts` of its own in which the service's names (and `localhost`) lead there; where
not, host names in the job's variables are replaced. Any other image needs docker or podman.
"""

from fairway.ci.services.running import RunServices, Started, running_services
from fairway.ci.services.wish import ServiceError, ServiceWish

__all__ = ["RunServices", "ServiceError", "ServiceWish", "Started", "running_services"]
