"""How long the tests may take that could go on for ever: those at random, and those of crashes."""

import os

LONG = int(os.environ.get("DRAGOMAN_LONG", "1"))
"""`DRAGOMAN_LONG=N` makes each of them N times as long."""

SEED = int(os.environ.get("DRAGOMAN_SEED", "20261126"))
"""`DRAGOMAN_SEED=N` lets chance fall otherwise."""
