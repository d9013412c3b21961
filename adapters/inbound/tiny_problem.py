"""A problem whose answer is known, to see whether the solver that is installed solves."""

import numpy as np

from domain.ids import SecurityId
from domain.ports import Solver
from domain.problem import Problem


def solve_tiny(solver: Solver) -> str:
    """Ten shares of one security wanted, money for eight: the answer is eight.

    Raises:
        RuntimeError: the solver gave another answer.
        SolverFailed: it gave none.
    """
    whole = np.array([1], dtype=np.int64)
    problem = Problem(
        security_ids=(SecurityId("DOCTOR000000000000000000"),),
        money_places=0,
        weight_scale=1,
        market_value=2000,
        budget=850,
        price=whole * 100,
        target=whole * 1000,
        lower=whole * 0,
        upper=whole * 1000,
        held=whole * 0,
        min_quantity=whole * 0,
        max_quantity=whole * 10,
    )
    answer = solver.solve(problem)
    if answer.quantity is None or answer.quantity.tolist() != [8]:
        raise RuntimeError(
            f"{solver.name} answered {answer.status}, {answer.quantity} to a problem whose answer is 8"
        )
    return f"{solver.name} solves"
