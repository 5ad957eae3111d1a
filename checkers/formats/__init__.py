"""Histories on disk: our own format, and those of other tools.

    jsonl          our `history.jsonl`
    edn            reader of EDN; `edn_writer` writes Jepsen's histories
    jepsen_log     operations in a Jepsen test's log
    etcd_reports   reports of etcd's robustness tests
    foreign        recognises a file's format and loads it
    dialects       turns the events of a file into a history
    ordering       the order and the times of the events
    translations   maps functions and values to those of our checkers

Nothing here opens a file: contents come in as bytes.
"""
