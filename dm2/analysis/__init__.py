"""From finished runs to tables, statistics, verdicts, figures and the report."""
