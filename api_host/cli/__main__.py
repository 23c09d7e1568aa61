"""``python -m api_host.cli``: the console script without its installation."""

from api_host.cli import main

main()
