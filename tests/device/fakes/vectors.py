"""The golden vectors of tests/vectors, on any interpreter."""

import json


def load(name):
    """Return the content of tests/vectors/<name>."""
    here = __file__.replace("\\", "/").rpartition("/")[0]
    with open(here + "/../../vectors/" + name, "rb") as f:
        return json.loads(f.read().decode())
