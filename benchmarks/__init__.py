"""What was measured, and how: see README.md and RESULTS.md."""
