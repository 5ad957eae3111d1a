"""Histories on disk: ours (`jsonl`) and other tools' (`edn`, `foreign`, `dialects`).

`dialects` reads who did what when; `translations` maps values to the words of our checkers.
"""
