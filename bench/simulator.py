"""How fast the simulator is, and where its time goes.

    python bench/simulator.py [--seeds 12] [--time 20] [--profile 25]

Five nodes, 200 client operations a simulated second, every kind of fault as the swarm draws it,
invariants on, history recorded. User CPU time of this process is what counts, so that a busy
machine does not pass for a slow program; each seed is run `--repeat` times and its best time taken.
Caches and hyperthreads are shared all the same: the yardstick, a fixed loop over a heap and a
dictionary timed between the runs, says how much slower than at its best this machine was.
"""

from __future__ import annotations

import argparse
import cProfile
import heapq
import os
import pstats

from harness.sim.simulate import Simulation, simulate
from harness.sim.sweep import Sweep, workload_named

YARDSTICK_STEPS = 60_000


def cpu_s() -> float:
    return os.times().user


def yardstick_s() -> float:
    """Time a fixed piece of work of the simulator's own kind."""
    begun_s = cpu_s()
    heap: list[tuple[int, int, int, None]] = []
    table: dict[int, tuple[int, list[int]]] = {}
    for step in range(YARDSTICK_STEPS):
        heapq.heappush(heap, (step * 7919 % 65536, step, step & 7, None))
        table[step & 1023] = (step, [step])
        if len(heap) > 500:
            heapq.heappop(heap)
    return cpu_s() - begun_s


def run(seed: int, what: Sweep) -> Simulation:
    return simulate(seed, workload_named(what.workload), what.plan(seed))


def main() -> None:
    asked = argparse.ArgumentParser(description="Measure the simulator.")
    asked.add_argument("--seeds", type=int, default=12)
    asked.add_argument("--time", type=float, default=20.0, help="simulated seconds of load")
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--profile", type=int, default=20, help="functions shown")
    words = asked.parse_args()
    what = Sweep(time_s=words.time)
    run(0, what)  # warm: imports, caches, specialised bytecode
    simulated_s = spent_s = 0.0
    events = operations = 0
    yardsticks = []
    print(f"{'seed':>6} {'simulated s':>12} {'events':>8} {'CPU s':>7} {'x real time':>12}")
    for seed in range(words.seeds):
        best_s = float("inf")
        for _ in range(words.repeat):
            yardsticks.append(yardstick_s())
            begun_s = cpu_s()
            done = run(seed, what)
            best_s = min(best_s, cpu_s() - begun_s)
        speed = done.simulated_s / best_s
        print(f"{seed:6} {done.simulated_s:12.1f} {done.events:8,} {best_s:7.2f} {speed:12.0f}")
        simulated_s += done.simulated_s
        spent_s += best_s
        events += done.events
        operations += len(done.history)
    yardsticks.sort()
    typical_s, best_s = yardsticks[len(yardsticks) // 2], max(yardsticks[0], 1e-9)
    print(
        f"\n{simulated_s / spent_s:.0f} simulated seconds per CPU second, "
        f"{events / spent_s:,.0f} events per CPU second, {events / simulated_s:,.0f} events and "
        f"{operations / simulated_s:.0f} recorded ops per simulated second"
    )
    print(
        f"yardstick {typical_s * 1000:.0f} ms, at its best {best_s * 1000:.0f} ms: "
        f"this machine was {typical_s / best_s:.1f} times slower than it can be\n"
    )
    profile = cProfile.Profile()
    profile.enable()
    for seed in range(min(words.seeds, 3)):
        run(seed, what)
    profile.disable()
    pstats.Stats(profile).strip_dirs().sort_stats("tottime").print_stats(words.profile)


if __name__ == "__main__":
    main()
