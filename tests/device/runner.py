"""Run the test_* functions of one file, on whatever interpreter this is, and print one JSON line for each.

    <interpreter> runner.py on_device/tracer.py

Lines: {"test": name, "ok": bool, "trace": text}. A file that cannot be imported gives one line whose test is "".
"""

import io
import json
import sys


def trace_of(error):
    if hasattr(sys, "print_exception"):
        text = io.StringIO()
        sys.print_exception(error, text)
        return text.getvalue()
    import traceback

    return "".join(traceback.format_exception(error))


def say(test, error=None):
    print(json.dumps({"test": test, "ok": error is None, "trace": trace_of(error) if error else ""}))


def main(path):
    folder, _, name = path.replace("\\", "/").rpartition("/")
    sys.path.insert(0, folder)
    try:
        module = __import__(name[:-3])
    except Exception as error:
        say("", error)
        return
    for test in sorted(n for n in dir(module) if n.startswith("test_")):
        try:
            getattr(module, test)()
        except Exception as error:
            say(test, error)
        else:
            say(test)


main(sys.argv[1])
