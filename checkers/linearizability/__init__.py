"""Whether real time allows one order of the operations on each object: Porcupine's question.

`checker` chooses the cheapest path that decides: zones and conflicts where values are unique, else
the search of Wing, Gong and Lowe. `models` says what an object does; `shrink` reduces a
counterexample.
"""
