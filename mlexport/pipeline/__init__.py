"""The only place that chains the steps: load, cut, plan, write, verify, commit; and what reads an artifact back."""

from mlexport.pipeline.look import inspect, verify_artifact
from mlexport.pipeline.make import slice_model, write_slices
from mlexport.pipeline.plan import measure_sensitivity, plan_slice

__all__ = ["inspect", "measure_sensitivity", "plan_slice", "slice_model", "verify_artifact", "write_slices"]
