"""The parts of migration 0002: tables, rows and views."""
