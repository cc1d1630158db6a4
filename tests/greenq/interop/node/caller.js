// Calls tasks as told on stdin, and says on stdout what came of each: a line of JSON for each, both ways.
//
// node caller.js CLIENT BROKER RESULTS QUEUE
//   CLIENT: celery-node-1, celery-node-2 (the protocol) or node-celery
//   in: {"task": name, "args": [...], "kwargs": {...}, "options": {...}}
//   out: {"id": ..., "status": ..., "result": ...}

"use strict";

const readline = require("readline");

const [client, broker, results, queue] = process.argv.slice(2);

function say(id, status, result) {
  process.stdout.write(JSON.stringify({ id, status, result }) + "\n");
}

function withCeleryNode(protocol) {
  const caller = require("celery-node").createClient(broker, results, queue);
  caller.conf.TASK_PROTOCOL = protocol;
  return {
    ready: caller.isReady(),
    call({ task, args, kwargs, id }) {
      const sent = caller.sendTask(task, args, kwargs, id);
      sent.get(0, 50).then(
        (result) => say(sent.taskId, "SUCCESS", result),
        (error) => say(sent.taskId, error.message, { ...error }),
      );
    },
    end: () => caller.disconnect(),
  };
}

function withNodeCelery() {
  const caller = require("node-celery").createClient({
    CELERY_BROKER_URL: broker,
    CELERY_RESULT_BACKEND: results,
    CELERY_DEFAULT_QUEUE: queue,
  });
  caller.on("error", (error) => { throw error; });
  return {
    ready: new Promise((resolve) => caller.on("connect", resolve)),
    call({ task, args, kwargs, options }) {
      const sent = caller.call(task, args, kwargs, options || {});
      sent.on("ready", (told) => say(sent.taskid, told.status, told.result));
    },
    end: () => process.exit(0),
  };
}

const clients = {
  "celery-node-1": () => withCeleryNode(1),
  "celery-node-2": () => withCeleryNode(2),
  "node-celery": withNodeCelery,
};

const made = clients[client]();
made.ready.then(() => {
  const lines = readline.createInterface({ input: process.stdin });
  lines.on("line", (line) => made.call(JSON.parse(line)));
  lines.on("close", () => made.end());
});
