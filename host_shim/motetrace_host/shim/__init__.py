"""The shim at work, in the order a message passes: `inbox`, `reader`, `pipeline`, `journal`, `republisher`, `ack_line`.

`reader` asks `bare_seq` and `births`; `tally` counts.
"""
