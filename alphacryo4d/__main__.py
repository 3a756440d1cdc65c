"""``python -m alphacryo4d``."""

from alphacryo4d.cli import main

main()
