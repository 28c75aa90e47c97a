"""What runs a payload in a browser: the wrapper of LiteRT.js that web bundles hold, and the runner as a page.

    litert          a payload in LiteRT.js: real values in and out, checked before use. Bundles hold it, as the next two
    tensors         types of tensors, stored and real values
    golden          .npy files, and a bundle's own check
    runner          takes one request from EdgeKit's server, carries it out, tells events
    session         an artifact as the runner runs it: set inputs, invoke, get outputs
    gpu             the same by WebGPU
    measure         the clock, warm-up to a steady state, samples: `edgekit.runner.measure` for a coarse clock
    sustain         minutes of invokes, told second by second: `edgekit.runner.sustain`
    compare         what "the same answer" means: `edgekit.runner.compare`
    facts           what a page can say of its browser
    events          one line of JSON an event, over a WebSocket
    page.html       the page

The JavaScript is what the TypeScript compiler makes of the TypeScript, so nothing is built here; a test holds the two
together. `edgekit.devices.browser` serves the page.
"""

LITERT = "@litertjs/core"
LITERT_VERSION = "2.5.3"
"""What it was tested with. Later patches are taken, other minor versions are not: tensors cross by its internals."""
