"""`python -m fairway.cli`: the same as the `fairway` script."""

from fairway.cli import main

main()
