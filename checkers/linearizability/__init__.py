"""Whether the operations on each object have an order that respects real time.

`checker` takes the cheapest path that decides, key by key:

    zones             registers whose values are unique: exact, O(n log n)
    conflicts         proofs of what the zones refute
    append_register   texts that are put, appended to and got, as such a register
    search            any model: Wing & Gong's search with Lowe's improvements, bounded

They share:

    registers         a key's operations as columns of plain values
    models, objects   sequential specifications: the protocol, and the objects known by name
    specifications    the objects by name
    thin_air          values that no operation can have written
    shrink            sound reduction of a counterexample
    porcupine         partial linearizations as data for Porcupine's visualiser
    sequential        sequential consistency: the same question without real time
"""
