"""The forms of a report: HTML page, JUnit XML, summary, terminal lines, index of runs."""
