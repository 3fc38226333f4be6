"""The command `motetrace`, also as `python -m motetrace_host`; without its extra it says what to install."""

import sys

_MISSING = 2


def main() -> None:
    """Run the command. Exit code 2 and one line where a library of the extra `shim` is not installed."""
    try:
        from motetrace_host.cli import main as command

        command(prog_name="motetrace")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("motetrace"):
            raise
        print(
            f"motetrace: the command needs {error.name}, which is not installed: pip install 'motetrace[shim]', "
            "in a checkout: pip install '.[shim]'",
            file=sys.stderr,
        )
        sys.exit(_MISSING)


if __name__ == "__main__":
    main()
