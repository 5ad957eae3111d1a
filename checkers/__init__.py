"""The shared vocabulary and the judges.

Everything here is pure: a history and the nodes' own evidence go in, a verdict comes out. Nothing
here opens a socket, reads a clock, rolls dice, or shares a line of code with the node under test.
"""

assert __name__ == "squall.checkers", "import squall.checkers: the folder is no package of its own"
