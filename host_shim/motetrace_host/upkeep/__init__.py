"""What keeps a state folder's database in order: `retention` while a shim runs, `motetrace db` when an operator asks.

Reading order: `retention`; `overview` (show), `check`, `compact`, `merge_boots`; `progress`, how they tell how far they
are; `commands`, what people type.
"""
