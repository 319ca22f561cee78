"""Pages: records in, HTML out; knows no HTTP and no engine."""
