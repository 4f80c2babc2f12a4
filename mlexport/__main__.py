"""`python -m mlexport`: the command line without its script."""

from mlexport.cli import main

main()
