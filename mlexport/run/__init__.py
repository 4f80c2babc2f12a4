"""From a recipe to artifacts, numbers and packs, in one go that can be stopped and gone on with."""

from mlexport.run.chain import run_recipe
from mlexport.run.planning import plan_run

__all__ = ["plan_run", "run_recipe"]
