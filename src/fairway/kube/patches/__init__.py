"""The four ways to change an object by description: JSON patch, merge patch, strategic merge, server-side apply.

All pure: values in, a new value out, the input untouched. Strategic merge and apply ask `fairway.kube.facts` how lists
merge.
"""
