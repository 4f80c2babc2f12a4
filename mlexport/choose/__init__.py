"""From what an app can bear (milliseconds, megabytes, quality, languages) to the cut that it should take."""

from mlexport.choose.run import ChooseRequest, choose

__all__ = ["ChooseRequest", "choose"]
