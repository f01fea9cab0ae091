"""Orders over HTTP."""

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, status
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from shop.db import session
from shop.models import Order

router = APIRouter(prefix="/api/orders")
Db = Annotated[Session, Depends(session)]


class NewOrder(BaseModel):
    item: str = Field(min_length=1, max_length=200)
    quantity: int = Field(default=1, ge=1, le=1000)


class ShownOrder(NewOrder):
    model_config = ConfigDict(from_attributes=True)

    id: int


@router.get("")
def recent_orders(db: Db) -> list[ShownOrder]:
    newest = select(Order).order_by(Order.id.desc()).limit(10)
    return [ShownOrder.model_validate(order) for order in db.scalars(newest)]


@router.post("", status_code=status.HTTP_201_CREATED)
def place_order(new: NewOrder, db: Db) -> ShownOrder:
    order = Order(item=new.item, quantity=new.quantity)
    db.add(order)
    db.commit()
    return ShownOrder.model_validate(order)


@router.get("/{order_id}")
def one_order(order_id: int, db: Db) -> ShownOrder:
    order = db.get(Order, order_id)
    if order is None:
        raise HTTPException(status.HTTP_404_NOT_FOUND, f"there is no order {order_id}")
    return ShownOrder.model_validate(order)
