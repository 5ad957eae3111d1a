"""Measures the simulator: its speed, a profile, and how a seed's cost grows with its length.

    python -m bench.simulator [--seeds 30] [--time 20] [--repeat 2] [--growth 3] [--profile 20]

Five nodes, 200 client operations a simulated second, every kind of fault as the swarm draws it,
invariants on, history recorded. The measure is user CPU time of this process, so that other load
does not count; each seed is run `--repeat` times, and its best time taken. Judging a run, as a
sweep does, and collecting its garbage are measured separately. As caches and hyperthreads are
shared with other load, the yardstick, a fixed loop over a heap and a dictionary between the runs,
shows how much slower than at its best the machine was.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import heapq
import pstats
import resource

from squall.harness.sim.sweep.simulate import Simulation, simulate
from squall.harness.sim.sweep.sweep import Sweep, judge, workload_named

YARDSTICK_STEPS = 60_000
LENGTHS_S = (10, 20, 40, 80)
"""Simulated seconds of load at which the growth of a seed's cost is measured."""


def cpu_s() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def yardstick_s() -> float:
    """Time a fixed loop that resembles the simulator's work."""
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


def timed(seed: int, what: Sweep) -> tuple[Simulation, float, float]:
    """Run and judge a seed; returns the run and the CPU seconds of running and of judging.

    The collector is off meanwhile, as in a sweep; freeing the run counts as part of judging.
    """
    gc.collect()
    gc.disable()
    begun_s = cpu_s()
    done = run(seed, what)
    run_s = cpu_s()
    judge(done, workload_named(what.workload))
    judged_s = cpu_s()
    gc.enable()
    return done, run_s - begun_s, judged_s - run_s


def garbage_s() -> float:
    """Time the collection of garbage."""
    begun_s = cpu_s()
    gc.collect()
    return cpu_s() - begun_s


def speed(words: argparse.Namespace) -> None:
    """Print the speed of each seed and of all."""
    what = Sweep(time_s=words.time)
    simulated_s = spent_s = judging_s = cleaning_s = 0.0
    events = operations = 0
    yardsticks = []
    print(f"{'seed':>6} {'simulated s':>12} {'events':>8} {'CPU s':>7} {'x real time':>12}")
    for seed in range(words.seeds):
        best_s = best_judge_s = best_garbage_s = float("inf")
        for _ in range(words.repeat):
            yardsticks.append(yardstick_s())
            done, run_s, judge_s = timed(seed, what)
            best_s, best_judge_s = min(best_s, run_s), min(best_judge_s, judge_s)
            length_s, happened, recorded = done.simulated_s, done.events, len(done.history)
            del done
            best_garbage_s = min(best_garbage_s, garbage_s())
        print(f"{seed:6} {length_s:12.1f} {happened:8,} {best_s:7.2f} {length_s / best_s:12.0f}")
        simulated_s += length_s
        spent_s += best_s
        judging_s += best_judge_s
        cleaning_s += best_garbage_s
        events += happened
        operations += recorded
    yardsticks.sort()
    typical_s, least_s = yardsticks[len(yardsticks) // 2], max(yardsticks[0], 1e-9)
    whole_s = spent_s + judging_s + cleaning_s
    print(
        f"\n{simulated_s / spent_s:.0f} simulated seconds per CPU second, "
        f"{events / spent_s:,.0f} events per CPU second, {events / simulated_s:,.0f} events and "
        f"{operations / simulated_s:.0f} recorded ops per simulated second\n"
        f"{simulated_s / whole_s:.0f} with judging ({judging_s / whole_s:.0%} of the CPU time) and "
        f"collecting garbage ({cleaning_s / whole_s:.0%})\n"
        f"yardstick {typical_s * 1000:.0f} ms, at its best {least_s * 1000:.0f} ms: "
        f"this machine was {typical_s / least_s:.1f} times slower than it can be\n"
    )


def growth(seeds: int, repeat: int) -> None:
    """Print what a simulated second costs in runs of different lengths."""
    print("CPU ms per simulated second, by seconds of load: even means linear")
    print(f"{'seed':>6}" + "".join(f"{length_s:>8} s" for length_s in LENGTHS_S))
    means = [0.0] * len(LENGTHS_S)
    for seed in range(seeds):
        costs = []
        for length_s in LENGTHS_S:
            what = Sweep(time_s=length_s)
            runs = [timed(seed, what) for _ in range(repeat)]
            costs.append(1000 * min(run_s / done.simulated_s for done, run_s, _ in runs))
        means = [mean + cost / seeds for mean, cost in zip(means, costs, strict=True)]
        print(f"{seed:6}" + "".join(f"{cost:10.1f}" for cost in costs))
    print(f"{'mean':>6}" + "".join(f"{mean:10.1f}" for mean in means) + "\n")


def profile(seeds: int, functions: int) -> None:
    """Print the functions that take most of the time, by cProfile, which favours long ones."""
    profiler = cProfile.Profile()
    profiler.enable()
    for seed in range(seeds):
        run(seed, Sweep())
    profiler.disable()
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(functions)


def main() -> None:
    asked = argparse.ArgumentParser(description="Measure the simulator.")
    asked.add_argument("--seeds", type=int, default=30)
    asked.add_argument("--time", type=float, default=20.0, help="simulated seconds of load")
    asked.add_argument("--repeat", type=int, default=2)
    asked.add_argument("--growth", type=int, default=3, help="seeds whose growth is measured")
    asked.add_argument("--profile", type=int, default=20, help="functions shown")
    words = asked.parse_args()
    run(0, Sweep(time_s=2.0))  # warm: imports, caches, specialised bytecode
    gc.collect()
    gc.freeze()
    speed(words)
    growth(words.growth, words.repeat)
    profile(min(words.seeds, 3), words.profile)


if __name__ == "__main__":
    main()
