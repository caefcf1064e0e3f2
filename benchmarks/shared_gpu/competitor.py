"""Another program on the GPU that this process sees: python -m benchmarks.shared_gpu.competitor [--leave-mib MIB] ...

The parts `contention` and `low-vram` start it. It takes VRAM and returns it, at random, up to all but a part of the
card that it never takes. With --greedy it also takes what others give back while it holds some. With --leave-mib it
takes all but so much, and keeps it. For each change it prints a line of JSON: benchmarks.shared_gpu.competitor_process
describes it.
"""

import argparse
import json
import random
import time

import torch

BYTES_PER_MIB = 1 << 20
GREEDY_CHECK_S = 0.02  # Seconds between two checks whether others gave something back.
GREEDY_MIN_BYTES = 32 * BYTES_PER_MIB  # Less than that is not worth taking.
HOLD_S = (0.2, 2.0)  # The least and the greatest number of seconds for which memory is held.
PAUSE_S = (0.05, 0.5)  # The same of the time until memory is taken again.
SHARE = (0.2, 1.25)  # The same of the part of the free memory that is taken; above 1 all of it is.
KEEP_REPORT_S = 60.0  # Seconds between two lines of a competitor that keeps what it has.


def main() -> None:
    """Hold memory until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--leave-mib", type=int, help="take all but so much, and keep it")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (default: 0)")
    parser.add_argument("--reserve", type=float, default=0.1, help="part of the card that is never taken")
    parser.add_argument("--greedy", action="store_true", help="take what others give back")
    options = parser.parse_args()
    if options.leave_mib is not None:
        keep_all_but(options.leave_mib * BYTES_PER_MIB)
    take_and_return(random.Random(options.seed), options.reserve, options.greedy)


def keep_all_but(left_bytes: int) -> None:
    """Take all memory but so much, for as long as the process lives."""
    held = [allocate(free_bytes() - left_bytes)]
    while True:
        report(held)
        time.sleep(KEEP_REPORT_S)


def take_and_return(rng: random.Random, reserve: float, greedy: bool) -> None:
    """Take memory for a moment, again and again: in a quarter of the cases all but the reserve."""
    while True:
        free, total = torch.cuda.mem_get_info()
        reserved = reserve * total
        share = min(1.0, rng.uniform(*SHARE))
        held = [allocate(int(share * (free - reserved)))]
        report(held)
        end = time.monotonic() + rng.uniform(*HOLD_S)
        while (left_s := end - time.monotonic()) > 0:
            time.sleep(min(GREEDY_CHECK_S, left_s))
            if greedy and free_bytes() - reserved > GREEDY_MIN_BYTES:
                held.append(allocate(int(free_bytes() - reserved)))
                report(held)
        held.clear()
        torch.cuda.empty_cache()
        report(held)
        time.sleep(rng.uniform(*PAUSE_S))


def allocate(size_bytes: int) -> torch.Tensor | None:
    """A block of memory of this size; None where there is not so much, or where none is asked for."""
    try:
        return torch.empty(size_bytes, dtype=torch.uint8, device="cuda") if size_bytes > 0 else None
    except torch.OutOfMemoryError:
        return None


def free_bytes() -> int:
    """The card's memory that nobody uses."""
    return torch.cuda.mem_get_info()[0]


def report(held: list[torch.Tensor | None]) -> None:
    """Print what is held now."""
    held_mib = sum(tensor.nbytes for tensor in held if tensor is not None) // BYTES_PER_MIB
    change = {"time_s": time.time(), "held_mib": held_mib, "free_mib": free_bytes() // BYTES_PER_MIB}
    print(json.dumps(change), flush=True)


if __name__ == "__main__":
    main()
