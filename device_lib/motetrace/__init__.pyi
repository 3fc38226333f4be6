from motetrace.tracer import Tracer as Tracer

__version__: str
__repo__: str
