"""The shared vocabulary of histories, and the judges of them.

Everything here is pure: a history and the evidence collected from the nodes go in, a verdict comes
out. Nothing opens a socket, reads a wall clock or draws random numbers, and nothing shares code
with the node under test. (A `budget.Budget` measures elapsed time, so that a search can stop.)

What is judged:

    history          the list of events, and operations paired from them
    evidence         logs, digests and states collected from the nodes
    faults           fault windows read from a history
    run              what identifies a run
    assumptions      what the user states about a file: initial value, meaning of nil
    answers          compares every answer with what was asked

How judging goes:

    judge, verdict, budget   the type of a judge, what it returns, what it may spend
    registry                 every model by name
    gc_pause                 disables the cyclic GC while a judge runs

The judges, one package a family of properties:

    linearizability  registers, texts and any sequential model; also sequential consistency
    transactions     isolation levels, bank, long fork
    etcd, watch      revisions and watch streams of an etcd-like store
    collections      sets, counters, queues, locks, leases
    raft             invariants of the nodes' logs and write-ahead logs
    campaign         faults, availability, recovery and final reads of a run
    proof_check      re-verifies every proof against the history

Input and output: `formats` reads and writes files of histories, `text` writes lanes and proofs.
"""

assert __name__ == "squall.checkers", "import squall.checkers: the folder is no package of its own"
