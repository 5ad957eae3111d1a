"""The view model in each of its forms: HTML page, JUnit XML, Markdown, terminal, index of runs."""
