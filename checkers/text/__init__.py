"""Histories, proofs and values as text.

The modules:

    lanes    histories drawn as one lane a process; `parse` reads what `render` writes
    proof    anomalies as sentences: "Let ... Then ... However ..."
    words    counts and enumerations within sentences

Nothing here decides a property.
"""
