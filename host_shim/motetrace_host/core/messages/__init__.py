"""One reading, from its packet to a record and two spans. Reading order:

`derived_ids`, `message` (ids, arrival, context), `record` (57 bytes), `fast_path` (plain packets in one step),
`message_spans`, `message_number` (as stages read it), `clones` (two devices under one id).
"""
