"""The deterministic simulation: one process, one event heap, virtual time.

It runs the same node code, workloads, faults, checkers and report as containers do, but network,
disk, clocks and scheduling are simulated, and every random draw comes from one seed. The same seed
gives the same run to the last byte, under any `PYTHONHASHSEED`, so a failure is repeated by its
number.

    backend     a run in the simulator, as the command line asks for it
    cluster     the simulated nodes behind the `Cluster` interface
    runtime     coroutines on the event heap: the controller's `Runtime`
    world/      the heap and its clock, network, disk, node clocks, nodes, their API, clients
    chaos/      swarm (what a seed draws), triggers and trigger probes, churn, effects, liveness
    judge/      invariants at every apply, state digests, trace and transcript, evidence
    sweep/      simulate (one seed), sweep (many), summary

Only this package imports the node's code; nothing else in the harness does.
"""
