"""motetrace imported anew, under an interpreter that lacks or has other modules than this one."""

import sys

import aes128

# CPython has no cryptolib; with this it has. MicroPython uses its own.
CIPHER = {} if sys.implementation.name == "micropython" else {"cryptolib": aes128}


class Module:
    """An empty module, or one with these attributes: `from it import name` fails for all others."""

    def __init__(self, **attributes):
        for name in attributes:
            setattr(self, name, attributes[name])


def fresh(hide=(), **modules):
    """Import motetrace with some modules hidden and others replaced; return its Tracer, then `_port`.

    Code that imports at call time (`_port_other.cipher`, `seed`) needs the same surroundings: see `surrounded`.
    """
    with surrounded(hide, **modules):
        for name in [n for n in sys.modules if n == "motetrace" or n.startswith("motetrace.")]:
            del sys.modules[name]
        from motetrace import _port
        from motetrace.tracer import Tracer

        return Tracer, _port


class surrounded:
    """For a with statement: these modules hidden, those replaced; afterwards all is as before."""

    def __init__(self, hide=(), **modules):
        self._modules = modules
        for name in hide:
            modules[name] = Module()

    def __enter__(self):
        self._before = {name: sys.modules.get(name) for name in self._modules}
        sys.modules.update(self._modules)

    def __exit__(self, *_):
        for name in self._before:
            if self._before[name] is None:
                del sys.modules[name]
            else:
                sys.modules[name] = self._before[name]


def deterministic(port, seed):
    """Make every Tracer that uses `port` start from these 32 bytes."""
    port.seed = lambda extra: seed


def with_aes(*args, **kw):
    """Return a Tracer that uses AES on CPython too: what it makes depends on seq alone, and can be made again."""
    from motetrace import Tracer

    with surrounded((), **CIPHER):
        return Tracer(*args, **kw)


def at_seq(tracer, seq):
    """Put a tracer where it would be after message `seq` of its boot."""
    block = tracer.block
    block[5:9] = (seq & ~1).to_bytes(4, "big")
    tracer._encrypt(block, tracer._random)  # an odd message uses the second half of its even neighbour's block
    block[5:9] = seq.to_bytes(4, "big")
    tracer._digits()
