"""The application: orders, health, metrics."""

import logging

from fastapi import FastAPI, Response, status
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shop import __version__
from shop.db import engine
from shop.orders import router
from shop.telemetry import Telemetry

log = logging.getLogger("shop")
app = FastAPI(title="shop", version=__version__)
app.include_router(router)
app.add_middleware(Telemetry)


@app.get("/health/live")
def live() -> dict[str, str]:
    """The process answers. Nothing outside it is asked: a restart would not mend that."""
    return {"status": "ok"}


@app.get("/health/ready")
def ready(response: Response) -> dict[str, str]:
    """The database answers, and has the table that this version needs."""
    try:
        with engine().connect() as connection:
            connection.execute(text("SELECT 1 FROM orders LIMIT 1"))
    except SQLAlchemyError as error:
        log.warning("not ready: %s", error)
        response.status_code = status.HTTP_503_SERVICE_UNAVAILABLE
        return {"status": "database unavailable"}
    return {"status": "ok"}


@app.get("/metrics")
def metrics() -> Response:
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


@app.get("/version")
def version() -> dict[str, str]:
    return {"version": __version__}
