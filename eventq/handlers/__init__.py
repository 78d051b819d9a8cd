"""Functions registered under names: their signatures, retry rules, and what wraps each attempt."""

from eventq.handlers.children import NewTaskRef
from eventq.handlers.collection import Handlers
from eventq.handlers.context import AsyncContext, Context, current
from eventq.handlers.flow import Flow
from eventq.handlers.handler import Handler
from eventq.handlers.transaction import Transaction

__all__ = [
    "AsyncContext",
    "Context",
    "Flow",
    "Handler",
    "Handlers",
    "NewTaskRef",
    "Transaction",
    "current",
]
