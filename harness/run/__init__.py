"""One run, from its options to its verdict: controller, clients, recorder, final phase, judging."""
