"""The page for people, at ``/``: what runs, what waits, what failed, and what to do about it."""

from adapters.inbound.page.routes import page_router

__all__ = ["page_router"]
