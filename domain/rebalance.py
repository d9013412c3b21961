"""The answer for one portfolio, and how it is found: check, solve, verify, prove."""

from domain.answer import Conflict, Order, Outcome, PositionOutcome, Proof, Rebalance, Side

__all__ = ["Conflict", "Order", "Outcome", "PositionOutcome", "Proof", "Rebalance", "Side"]
