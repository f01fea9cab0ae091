"""`.github/dependabot.yml`: the longest interval between updates, in days."""

from __future__ import annotations

import yaml

from fairway.gates.forms.report import NOT_AS_EXPECTED, Measured, Unreadable, misread

_DAYS = {"daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92, "semiannually": 184, "yearly": 366}


def read_dependabot(text: str) -> Measured:
    try:
        body = yaml.safe_load(text)
        updates = body["updates"]
        if not updates:
            raise Unreadable("`updates` is empty: nothing is kept up to date")
        days = {str(one["package-ecosystem"]): _DAYS[one["schedule"]["interval"]] for one in updates}
    except yaml.YAMLError as error:
        raise Unreadable(f"not YAML: {error}") from None
    except NOT_AS_EXPECTED as error:
        raise misread("Dependabot", error) from None
    slowest = max(days, key=lambda name: days[name])
    return Measured({"days": float(days[slowest])}, {"days": slowest})
