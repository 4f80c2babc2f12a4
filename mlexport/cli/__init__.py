"""The command line: parse, call the library, print. Nothing heavy is imported before a command runs."""

from mlexport.cli import bench as bench  # registers its commands, as the next lines do
from mlexport.cli import choose as choose
from mlexport.cli import estimate as estimate
from mlexport.cli import make as make
from mlexport.cli import measure as measure
from mlexport.cli import packs as packs
from mlexport.cli import profiles as profiles
from mlexport.cli import recipes as recipes
from mlexport.cli import report as report
from mlexport.cli import run as run
from mlexport.cli import sweep as sweep
from mlexport.cli import use as use
from mlexport.cli import weigh as weigh
from mlexport.cli.app import app as app
from mlexport.cli.app import main as main
