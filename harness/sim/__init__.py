"""The deterministic world: one process, one event heap, virtual time.

The same node code, workloads, faults, checkers and report as with containers, but network, disk,
clocks and scheduling are simulated and every draw comes from one seed. The same seed gives the same
run to the last byte, under any `PYTHONHASHSEED`; a failure is a number one can keep.

    streams    one seed split into named streams of chance
    loop       the event heap; the only clock
    runtime    plain coroutines on that heap (the controller's world)
    network    delay, loss, duplication, reordering, clogging, one-way cuts
    disk       what survives a crash, and what is torn
    clock      nodes' clocks: drift and jumps
    node       one replica driven by all of these; requests: its API without gRPC
    client     a workload's connection to one node
    world      all nodes together, and the hands that hold them down
    triggers   faults at the worst moment: "when x becomes leader, crash it"; moments: seen how
    turnover   members removed, wiped, added back; bits that rot; effects: what faults did, counted
    invariants what must hold at every apply; the first broken one stops the run
    swarm      what each seed draws: fault kinds, rates, knobs of the protocol
    liveness   faults stop: does a bare quorum go on?
    trace      the digest that proves two runs equal, and the transcript one reads; words: its words
    evidence   what the nodes leave behind, read as a container's logs and WALs are
    simulate   one seed, one run; sweep: many; summary: what they came to

Only this package knows the node's code; nothing else in the harness does.
"""
