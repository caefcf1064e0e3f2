"""The RAM that this process uses."""

import psutil

from worker.monitoring.resident_memory import resident_bytes


def test_the_resident_memory_is_what_the_kernel_counts():
    expected = psutil.Process().memory_info().rss
    assert abs(resident_bytes() - expected) < 0.05 * expected


def test_memory_that_is_written_to_becomes_resident():
    before = resident_bytes()
    written = bytearray(b"x" * (64 << 20))
    assert resident_bytes() - before > 0.9 * len(written)
