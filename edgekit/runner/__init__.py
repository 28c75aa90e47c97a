"""The runner: the small program that is pushed to a device, and the same code that the host proves artifacts with.

It loads an artifact's payload in a runtime, checks it on the artifact's golden inputs, measures it, and reports one
JSON line per event on its standard output (`docs/formats/runner-protocol.md`). It needs Python 3.8 or newer, the
standard library and whichever runtime the device has, and imports nothing of EdgeKit: `edgekit.devices.runner_zip`
packs this folder into one file, which is what `python3 runner.pyz` executes over there.

    __main__    reads one request (JSON), carries it out
    protocol    the event lines, on a stream that nothing else can write to
    session     an artifact in a runtime: set inputs, invoke, get outputs
    answer      a range of samples, and what the payload answers to each, for `edgekit evaluate`
    compare     SNR, cosine, top-1: what "the same answer" means, here and on the device
    turns, pair two processes that take turns, and who starts them
    cores       which processors they use
    measure     warm-up to a steady state, samples, stop rules
    sustain     minutes of invokes, told second by second
    profile     what each operator costs, by the runtime's own profiler
    energy      what an inference costs, where the device has a counter
    memory      peak resident memory of this process, from the kernel
    facts       what the device says of itself
    runtimes/   one module a runtime
    native/     its twin in C, for devices without Python (docs/native-runner.md)
"""

SCHEMA = 3
"""Version of the request and of the event lines."""
READS = (1, 2, 3)
"""Versions of requests that are carried out: 1 has no `answer`, 2 no `turns`."""
