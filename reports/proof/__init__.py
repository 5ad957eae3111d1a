"""A counterexample as a reader checks it: the card (`card`) and its drawing (`drawing`)."""
