"""Rules name peers only, and the chain's counters are read back by peer."""

from __future__ import annotations

from squall.harness.docker.iptables import dropped_packets, rules

ADDRESSES = {"n1": "10.213.4.75", "n2": "10.213.4.76", "n3": "10.213.4.77"}

LISTING = """\
Chain SQUALL (1 references)
    pkts      bytes target     prot opt in     out     source               destination
     128     8704 DROP       0    --  *      *       10.213.4.76          0.0.0.0/0
       0        0 DROP       all  --  *      *       10.213.4.77          0.0.0.0/0
      17      900 ACCEPT     0    --  *      *       10.213.4.75          0.0.0.0/0
"""


def test_a_rule_drops_everything_from_one_address() -> None:
    assert rules(["n3", "n2"], ADDRESSES) == (
        "-A SQUALL -s 10.213.4.76/32 -j DROP\n-A SQUALL -s 10.213.4.77/32 -j DROP\n"
    )


def test_healing_is_an_empty_list_of_rules() -> None:
    assert rules([], ADDRESSES) == ""


def test_counters_are_read_for_both_front_ends_of_iptables() -> None:
    assert dropped_packets(LISTING, ADDRESSES) == {"n2": 128, "n3": 0}


def test_an_empty_chain_has_dropped_nothing() -> None:
    assert dropped_packets("Chain SQUALL (1 references)\n pkts bytes target\n", ADDRESSES) == {}


def test_a_rule_of_somebody_else_is_not_counted() -> None:
    foreign = "       5      300 DROP       0    --  *      *       10.0.0.9   0.0.0.0/0\n"
    assert dropped_packets(foreign, ADDRESSES) == {}
