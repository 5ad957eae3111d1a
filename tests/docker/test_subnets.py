"""Every run gets a network of its own, on an unused subnet."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st

from squall.harness.docker.network import POOLS, PREFIX, addresses, candidate_subnets, routed

taken_nets = st.lists(
    st.builds(
        lambda pool, prefix, at: list(IPv4Network(pool).subnets(new_prefix=prefix))[at],
        st.sampled_from(POOLS),
        st.integers(17, 20),
        st.integers(0, 1),
    ),
    max_size=4,
)


@given(st.text(), taken_nets)
def test_no_candidate_overlaps_what_is_taken(seed: str, taken: list[IPv4Network]) -> None:
    for subnet in islice(candidate_subnets(seed, taken), 20):
        assert not any(subnet.overlaps(net) for net in taken)
        assert subnet.prefixlen == PREFIX


def test_a_default_route_takes_nothing() -> None:
    assert next(candidate_subnets("run", [IPv4Network("0.0.0.0/0")]), None) is not None


def test_two_runs_begin_their_search_in_different_places() -> None:
    firsts = {next(candidate_subnets(f"run-{at}", [])) for at in range(20)}
    assert len(firsts) > 15


def test_when_one_range_is_routed_elsewhere_the_next_is_used() -> None:
    found = next(candidate_subnets("run", [IPv4Network(POOLS[0])]))
    assert found.subnet_of(IPv4Network(POOLS[1]))


def test_nodes_get_distinct_addresses_inside_the_subnet() -> None:
    subnet = IPv4Network("10.213.4.64/26")
    given_out = addresses(subnet, ["n1", "n2", "n3"])
    assert given_out == {"n1": "10.213.4.75", "n2": "10.213.4.76", "n3": "10.213.4.77"}


def test_the_kernels_route_table_is_read_in_its_own_byte_order() -> None:
    table = (
        "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n"
        "eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        "docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n"
    )
    assert routed(table) == [IPv4Network("0.0.0.0/0"), IPv4Network("172.17.0.0/16")]
