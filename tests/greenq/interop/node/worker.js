// A worker of celery-node's: node worker.js BROKER RESULTS QUEUE. It says "ready" once it takes messages.

"use strict";

const [broker, results, queue] = process.argv.slice(2);
const worker = require("celery-node").createWorker(broker, results, queue);

// The last argument of a handler is the mapping of named arguments.
worker.register("interop.add", (x, y) => x + y);
worker.register("interop.mirror", (...args) => [args.slice(0, -1), args[args.length - 1]]);
worker.register("interop.fail", (text) => { throw new Error(text); });
worker.register("interop.slow", (text) => new Promise((resolve) => setTimeout(resolve, 50, text)));

worker.isReady().then(() => {
  worker.start();
  console.log("ready");
});
