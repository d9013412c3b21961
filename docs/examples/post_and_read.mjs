// Post a job over HTTP, follow its events, and read its order sets. Node 18 or newer; nothing to install.
//
//   API=http://127.0.0.1:8080 REDIS_URL=redis://127.0.0.1:6379/0 MODEL=growth-60 KEY=nightly-2026-11-30 node post_and_read.mjs
//
// What is needed of the Redis protocol stands below in forty lines; a real program may prefer the package `redis`.

import net from "node:net";
import tls from "node:tls";

const {
  API = "http://127.0.0.1:8080",
  REDIS_URL = "redis://127.0.0.1:6379/0",
  API_KEY,
  MODEL,
  KEY,
} = process.env;
const ORDER_SETS = "trimtab.order-sets";
const EVENTS = "trimtab.job-events";

// ------------------------------------------------------------------------------------ Redis, as far as it is needed

class Redis {
  #waiting = [];
  #seen = Buffer.alloc(0);

  constructor(url) {
    const { protocol, hostname, port, pathname } = new URL(url);
    const place = protocol === "unix:" ? { path: pathname } : { host: hostname, port: Number(port || 6379) };
    this.socket = protocol === "rediss:" ? tls.connect({ ...place, servername: hostname }) : net.connect(place);
    this.socket.on("data", (bytes) => this.#take(bytes));
    this.socket.on("error", (error) => this.#waiting.splice(0).forEach(({ no }) => no(error)));
  }

  // One command; the answers come in the order of the commands.
  call(...words) {
    const parts = words.map((word) => `$${Buffer.byteLength(`${word}`)}\r\n${word}\r\n`);
    this.socket.write(`*${words.length}\r\n${parts.join("")}`);
    return new Promise((yes, no) => this.#waiting.push({ yes, no }));
  }

  #take(bytes) {
    this.#seen = Buffer.concat([this.#seen, bytes]);
    for (let read; this.#waiting.length && (read = parse(this.#seen, 0)); ) {
      this.#seen = this.#seen.subarray(read.end);
      const { yes, no } = this.#waiting.shift();
      if (read.value instanceof Error) no(read.value);
      else yes(read.value);
    }
  }
}

// A reply from `start` on, and where it ends; undefined while part of it is still on its way.
function parse(buffer, start) {
  const line = buffer.indexOf("\r\n", start);
  if (line < 0) return undefined;
  const kind = String.fromCharCode(buffer[start]);
  const text = buffer.toString("utf8", start + 1, line);
  let end = line + 2;
  if (kind === "+") return { value: text, end };
  if (kind === "-") return { value: new Error(text), end };
  if (kind === ":") return { value: Number(text), end };
  const length = Number(text);
  if (length < 0) return { value: null, end };
  if (kind === "$") {
    if (buffer.length < end + length + 2) return undefined;
    return { value: buffer.toString("utf8", end, end + length), end: end + length + 2 };
  }
  const value = [];
  for (let at = 0; at < length; at += 1) {
    const part = parse(buffer, end);
    if (part === undefined) return undefined;
    value.push(part.value);
    end = part.end;
  }
  return { value, end };
}

const entriesOf = (reply) => (reply === null ? [] : reply[0][1]);
const field = (fields, name) => fields[fields.indexOf(name) + 1];

// ------------------------------------------------------------------------------------ the job

// The same key is the same job, however often it is posted.
const answer = await fetch(`${API}/api/v1/jobs`, {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Idempotency-Key": KEY,
    ...(API_KEY ? { Authorization: `Bearer ${API_KEY}` } : {}),
  },
  body: JSON.stringify({ model_id: MODEL }),
});
const job = await answer.json();
if (!answer.ok) throw new Error(`${job.error.code}: ${job.error.message}`);

const redis = new Redis(REDIS_URL);
const { username, password, pathname, protocol } = new URL(REDIS_URL);
if (password) await redis.call("AUTH", decodeURIComponent(username) || "default", decodeURIComponent(password));
if (protocol !== "unix:" && pathname.length > 1) await redis.call("SELECT", pathname.slice(1));

let finished;
for (let last = "0", seen = 0; !finished; ) {
  for (const [id, fields] of entriesOf(await redis.call("XREAD", "COUNT", 256, "BLOCK", 5000, "STREAMS", EVENTS, last))) {
    last = id;
    const event = JSON.parse(field(fields, "data"));
    if (event.job_id !== job.job_id || event.sequence <= seen) continue; // another job's, or a repeat
    seen = event.sequence;
    console.log(`event: ${event.event} ${event.state} ${event.reason ?? ""}`);
    if (event.event === "finished") finished = event;
  }
}

// The end may be told before the last order set is published: read until all that is decided is there.
const decided = ["traded", "no_trade", "infeasible", "rejected"]
  .map((state) => finished.counts[state] ?? 0)
  .reduce((sum, count) => sum + count);
const booked = new Set(); // a real one is a table, written in the transaction that does the work
for (let last = "0"; booked.size < decided; ) {
  // Without a group the reader keeps its own place: `last` belongs into that table, too.
  for (const [id, fields] of entriesOf(await redis.call("XREAD", "COUNT", 64, "BLOCK", 5000, "STREAMS", ORDER_SETS, last))) {
    last = id;
    if (field(fields, "job") !== job.job_id || booked.has(field(fields, "id"))) continue;
    booked.add(field(fields, "id"));
    // Decimals are strings: keep them so, or use a decimal library. A JavaScript number loses digits.
    for (const { side, quantity, security_id, price } of JSON.parse(field(fields, "data")).orders) {
      console.log(side, quantity, security_id, price);
    }
  }
}
console.log(JSON.stringify({ job_id: job.job_id, state: finished.state, order_sets: decided }));
redis.socket.end();
