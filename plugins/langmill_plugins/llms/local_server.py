"""A llama.cpp server on loopback, in a process of its own that ends with the run.

python -m langmill_plugins.llms.local_server MODEL SLOTS THREADS CONTEXT
"""

from __future__ import annotations

import os
import sys


def main(model: str, slots: int, threads: int, context: int) -> None:
    """Serve, on a port that the system picks, until standard input closes: the end of the run does that, however it ends."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.n_parallel = slots
    params.n_ctx = context * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.n_threads_http = slots
    server = xllamacpp.Server(params)
    print("ready", server.listening_address, flush=True)  # noqa: T201 - the run waits for it
    sys.stdin.buffer.read()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
