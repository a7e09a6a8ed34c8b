"""`python -m rotacube` is the command `rotacube`."""

from rotacube.cli import main

main()
