"""Whether elements, locks or leases were lost, duplicated or invented.

Most of these properties are decided by one pass over the operations; where the necessary conditions
do not suffice, a bounded search decides.

    sets       sets that only grow
    counters   bounds of every read, then a search
    queues     first in first out, unordered, and total queues
    eventual   Maelstrom's pn-counter and unique ids: judged by their final reads
    locks      mutual exclusion and fencing tokens
    leases     lifetime of leases and of the keys attached to them
"""
