"""One runner, one module a benchmark: `python benchmarks/run.py`; see docs/benchmarks.md."""
