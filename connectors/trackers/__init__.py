"""Other trackers a team moves in from: each one module, which yields storage.ledger.imports.tracker and knows no more.

Those with an API have `probe` and `read`, those that export files `read_file`.
"""
