"""HiGHS itself on the arrays that CVXPY is given: what there is to reach without a modelling layer."""

import highspy
import numpy as np

from adapters.solver.compiled import Coefficients
from domain.problem import IntArray, Problem


class BareHighs:
    """The formulation of `adapters.solver.compiled`, handed over as arrays; the same options as through CVXPY."""

    def __init__(self, problem: Problem, *, time_limit_seconds: float) -> None:
        count = len(problem.security_ids)
        given = Coefficients.of(problem, count)
        lp = highspy.HighsLp()
        lp.num_col_, lp.num_row_ = 3 * count, 1
        lp.col_cost_ = np.concatenate((given.step_cost, given.price, given.price))
        lp.col_lower_ = np.concatenate((given.step_min, given.less_min, given.more_min))
        lp.col_upper_ = np.concatenate((given.step_max, given.less_max, given.more_max))
        lp.row_lower_, lp.row_upper_ = np.array([-highspy.kHighsInf]), np.array([given.budget])
        lp.integrality_ = [highspy.HighsVarType.kInteger] * (3 * count)
        lp.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        lp.a_matrix_.start_ = np.array([0, 3 * count])
        lp.a_matrix_.index_ = np.arange(3 * count)
        lp.a_matrix_.value_ = np.concatenate((given.price, -given.price, given.price))
        self._lp = lp
        self._anchor = given.anchor
        self._time_limit_seconds = time_limit_seconds

    def solve(self) -> IntArray:
        """Hand the arrays over, run, and read the shares: what a caller of the library would do at least."""
        highs = highspy.Highs()  # type: ignore[no-untyped-call]  # highspy leaves it unannotated
        options: dict[str, bool | float | str] = {
            "output_flag": False,
            "threads": 1,
            "parallel": "off",
            "mip_rel_gap": 0.0,
            "mip_abs_gap": 0.01,
            "time_limit": self._time_limit_seconds,
        }
        for name, value in options.items():
            highs.setOptionValue(name, value)
        highs.passModel(self._lp)
        highs.run()
        step, less, more = np.rint(highs.getSolution().col_value).astype(np.int64).reshape(3, -1)
        quantity: IntArray = self._anchor + step - less + more
        return quantity
