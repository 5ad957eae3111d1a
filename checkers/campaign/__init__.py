"""Whether a run itself was sound, whatever its workload: exercised, available, recovered.

    coverage       the requested faults took effect
    statistics     every function of the workload succeeded at least once
    availability   a connected quorum served within a bound
    recovery       the cluster caught up in the final phase
    final_reads    everything was read in the final phase, and nodes agree
    lost_commits   acknowledged writes are in the final state and in the nodes' logs

Shared: `silence` (time without a successful operation).
"""
