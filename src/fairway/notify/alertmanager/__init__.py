"""An Alertmanager: alerts come in, are grouped, inhibited, silenced, and told to receivers.

`spec` reads `alertmanager.yml`, `routing` finds the receivers of an alert, `decide` says when a group is told and of what,
`receivers` build the messages, `controller` sends them, `api` is `/api/v2`.
"""
