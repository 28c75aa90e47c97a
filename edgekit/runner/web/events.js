/** Event lines of the runner: one JSON object a message, over the WebSocket to EdgeKit's server. */
const HEARTBEAT_MS = 500;
const BREATHE_MS = 100;
/** Tells events, and lets the browser do its own work now and then: a page that never pauses is taken for hung. */
export class Events {
    socket;
    last = performance.now();
    breathed = performance.now();
    channel = new MessageChannel();
    constructor(socket) {
        this.socket = socket;
    }
    /** One line. What is not finite has no place in JSON: it becomes null. */
    emit(event, fields = {}) {
        this.socket.send(JSON.stringify({ event, ...fields }));
        this.last = performance.now();
    }
    /** A sign of life every half second, and a pause every tenth. Never in what is timed. */
    async heartbeat() {
        const now = performance.now();
        if (now - this.last >= HEARTBEAT_MS) {
            this.emit("progress");
        }
        if (now - this.breathed >= BREATHE_MS) {
            await this.pause();
            this.breathed = performance.now();
        }
    }
    /** Signs of life while something is awaited. */
    async during(work) {
        const timer = setInterval(() => this.emit("progress"), HEARTBEAT_MS);
        try {
            return await work;
        }
        finally {
            clearInterval(timer);
        }
    }
    /** The last message is empty: nothing comes after it. */
    end() {
        this.socket.send("");
    }
    /** One turn of the event loop, without the 4 ms that nested timers wait. */
    pause() {
        return new Promise((resolve) => {
            this.channel.port1.onmessage = () => resolve();
            this.channel.port2.postMessage(null);
        });
    }
}
