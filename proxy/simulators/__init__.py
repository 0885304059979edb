"""The vendors as their documents describe them, on loopback: for tests and `serve --simulate`.

Written from the vendors' descriptions alone; shares no code with the wires, so that a misreading in one is
caught by the other.
"""
