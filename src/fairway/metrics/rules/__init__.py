"""Recording and alerting rules: PrometheusRule objects and rule files.

`spec` reads them, `alerts` says what becomes of an alert at each evaluation, `templates` fills in labels and annotations,
`controller` evaluates.
"""
