"""A recipe's grid, point by point: work that points share is done once, and what was finished is never done again."""

from mlexport.sweep.plan import SweepPlan, plan_sweep
from mlexport.sweep.run import SweepOptions, run_sweep

__all__ = ["SweepOptions", "SweepPlan", "plan_sweep", "run_sweep"]
