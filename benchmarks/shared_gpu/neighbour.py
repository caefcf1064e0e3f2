"""Another program on the GPU it sees.

Run it with `python -m benchmarks.shared_gpu.neighbour [--leave-mib MIB] [--seed N] [--reserve SHARE] [--greedy]`.

Takes memory and returns it, at random, down to a tenth of the card or the share given; --greedy: and while it holds
some, takes what others give back. With --leave-mib it takes all but so much, and keeps it. Prints a line of JSON for
each change: the time, what it holds and what is free, in MiB.
"""

import argparse
import json
import random
import time

import torch

MIB = 1 << 20
AGAIN_S = 0.02  # between two looks whether others gave something back
LEAST_BYTES = 32 * MIB  # that is worth taking


def main() -> None:
    """Hold memory until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--leave-mib", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--reserve", type=float, default=0.1, help="of the card, which is never taken")
    parser.add_argument("--greedy", action="store_true")
    options = parser.parse_args()
    if options.leave_mib is not None:
        keep(options.leave_mib * MIB)
    come_and_go(random.Random(options.seed), options.reserve, options.greedy)


def keep(left_bytes: int) -> None:
    """Take all but so much."""
    taken = [take(free_bytes() - left_bytes)]
    while True:
        say(taken)
        time.sleep(60)


def come_and_go(chance: random.Random, reserve: float, greedy: bool) -> None:
    """Take up to all but the reserve for a moment, again and again; in a quarter of the cases all of that."""
    while True:
        free, total = torch.cuda.mem_get_info()
        share = min(1.0, chance.uniform(0.2, 1.25))
        taken = [take(int(share * (free - reserve * total)))]
        say(taken)
        until = time.monotonic() + chance.uniform(0.2, 2.0)
        while (left_s := until - time.monotonic()) > 0:
            time.sleep(min(AGAIN_S, left_s))
            if greedy and free_bytes() - reserve * total > LEAST_BYTES:
                taken.append(take(int(free_bytes() - reserve * total)))
                say(taken)
        taken.clear()
        torch.cuda.empty_cache()
        say(taken)
        time.sleep(chance.uniform(0.05, 0.5))


def take(size_bytes: int) -> torch.Tensor | None:
    """So much memory; None where somebody else was faster, or there is none to take."""
    try:
        return torch.empty(size_bytes, dtype=torch.uint8, device="cuda") if size_bytes > 0 else None
    except torch.OutOfMemoryError:
        return None


def free_bytes() -> int:
    """Of the card."""
    return torch.cuda.mem_get_info()[0]


def say(taken: list[torch.Tensor | None]) -> None:
    """What is held now."""
    held = sum(tensor.nbytes for tensor in taken if tensor is not None)
    print(json.dumps({"at": time.time(), "held_mib": held // MIB, "free_mib": free_bytes() // MIB}), flush=True)


if __name__ == "__main__":
    main()
