"""One peer, loaded once in a process of its own and driven over standard input: ``run N`` prints N times in ms.

usage: worker.py lepton|ort MODEL_OR_ARTIFACT INPUTS.npz THREADS
"""

from __future__ import annotations

import json
import os
import sys
import time


def main() -> None:
    peer, path, inputs, threads = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    os.environ["OMP_NUM_THREADS"] = os.environ["TVM_NUM_THREADS"] = str(threads)
    import numpy as np

    feeds = dict(np.load(inputs))
    if peer == "ort":
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def call() -> object:
            return session.run(None, feeds)
    else:
        from lepton_ir import runtime

        model = runtime.load(path, threads=threads)
        arrays = list(feeds.values())

        def call() -> object:
            return model(*arrays)

    call()
    print("ready", flush=True)
    for line in sys.stdin:
        times = []
        for _ in range(int(line.split()[1])):
            started = time.perf_counter()
            call()
            times.append((time.perf_counter() - started) * 1e3)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
