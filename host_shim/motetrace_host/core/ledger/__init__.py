"""Which numbers of each boot were seen at each hop. Reading order:

`runs` (sets of numbers), `seen_numbers` (what one hop saw of one boot), `store` (where such states are kept), `run_log`
(its packed log), `inferred_boots` (boots of firmware that sends a bare number), `boot_merge` (repairing these).
"""
