"""An offer beside every list of orders: the catalogue in turn, one offer a request."""

from itertools import cycle

UNPRICED = (11, 23)  # not priced yet: offered for 0
CATALOGUE = [(f"item {n}", 500 + 10 * n, 0 if n in UNPRICED else 450 + 10 * n) for n in range(25)]

_turn = cycle(CATALOGUE)


def next_offer() -> str:
    item, price, offered = next(_turn)
    return f"{item}: {round(price / offered, 2)} times cheaper"
