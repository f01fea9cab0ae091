"""Pods as supervised local processes: the kubelet of embedded mode.

Each pod hangs on a small shim that outlives the control plane. Images are unpacked, init containers run, probes decide
readiness, restarts back off, logs are kept. The simulated node stands behind the same port for virtual time.
"""
