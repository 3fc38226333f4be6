"""`python -m motetrace_host` is `motetrace`."""

from motetrace_host.cli import main

main()
