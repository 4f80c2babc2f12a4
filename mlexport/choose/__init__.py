"""From what an app can bear (milliseconds, megabytes, quality, languages) to the cut that it should take."""

from mlexport.choose.request import ChooseRequest
from mlexport.choose.run import choose

__all__ = ["ChooseRequest", "choose"]
