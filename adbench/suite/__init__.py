"""Suites: environments x methods x seeds x context lengths, run, resumed and put on one page."""
