"""What messages contain, as bytes. Reading order:

1. contexts: `traceparent`, `tracestate`, `baggage`, `seqref`; their carriers `json_members`, `binary_trailer`;
   `context` finds them in a message, `trust` is how much of it is believed, `device_identity` which device it is of
2. `side_message` and its kinds `birth`, `device_stats`, `hop_report`, `emqx_drop`
"""
