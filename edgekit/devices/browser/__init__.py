"""A browser as a device: bench, gate, evaluate, verify and doctor take it as any other (docs/browser.md).

    device      the connected target, as `RunnerDevice`: what is served, what this machine knows
    page        one request in one page: started for it, or opened by a person
    program     Chromium, Chrome or Edge of this machine, headless, with a profile of its own
    server      the files by GET, and one WebSocket for the runner's lines; secret, host and origin are checked
    websocket   the server's side of one
    litert_js   LiteRT.js as npm lays it
    fitting     what a browser cannot run

The runner itself is JavaScript: `edgekit.runner.web`.
"""
