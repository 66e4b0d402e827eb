// Node at its best: ws and ioredis, one script call for all messages of a tick, and Redis's bytes sent on unread.
// With the argument `corked`, what one read of Redis brings for a socket leaves in one write, too.
import { Redis } from "ioredis";
import { WebSocketServer } from "ws";
import { PORT, REDIS_URL, TTL_SECONDS, channel, chatOf, enter, joined, leave, logKey, membersOf, metaKey, stored } from "./chats.mjs";

// KEYS  meta, log and channel of the chat of each message.  ARGV  TTL in seconds, then the messages.
const STORE = `
local outcome = {}
for index = 1, #ARGV - 1 do
  local meta, log, live, frame = KEYS[3 * index - 2], KEYS[3 * index - 1], KEYS[3 * index], ARGV[index + 1]
  outcome[index] = redis.call('EXPIRE', meta, ARGV[1])
  if outcome[index] == 1 then
    redis.call('XADD', log, '*', 'message', frame)
    redis.call('EXPIRE', log, ARGV[1])
    redis.call('PUBLISH', live, frame)
  end
end
return outcome
`;

const redis = new Redis(REDIS_URL);
const subscriber = new Redis(REDIS_URL);
const sha = await redis.script("LOAD", STORE);

const corking = process.argv.includes("corked");
let corked = [];

function uncork() {
  const all = corked;
  corked = [];
  for (const tcp of all) tcp.uncork();
}

function cork(tcp) {
  if (tcp.writableCorked) return;
  if (!corked.length) process.nextTick(uncork);
  tcp.cork();
  corked.push(tcp);
}

subscriber.on("messageBuffer", (name, frame) => {
  for (const socket of membersOf(name.latin1Slice())) {
    if (corking) cork(socket._socket);
    socket.send(frame, { binary: false });
  }
});

async function join(chat, socket, args) {
  if (enter(chat, socket)) await subscriber.subscribe(channel(chat));
  await redis.multi().hset(metaKey(chat), "userId", args.userId).expire(metaKey(chat), TTL_SECONDS).exec();
  socket.send(joined(args));
}

let keys = [], frames = [], senders = [];

function say(socket, args) {
  if (!senders.length) setImmediate(flush);
  keys.push(...socket.keys);
  frames.push(stored(args));
  senders.push(socket);
}

async function flush() {
  const batch = senders, batchKeys = keys, batchFrames = frames;
  keys = [], frames = [], senders = [];
  const outcome = await redis.evalsha(sha, batchKeys.length, batchKeys, TTL_SECONDS, batchFrames);
  batch.forEach((socket, index) => outcome[index] || socket.close(4510));
}

const server = new WebSocketServer({ host: "127.0.0.1", port: PORT, perMessageDeflate: false, backlog: 2048 });
server.on("connection", (socket, request) => {
  const chat = chatOf(request.url);
  socket.keys = [metaKey(chat), logKey(chat), channel(chat)];
  socket.on("message", (data) => {
    const { type, args } = JSON.parse(data);
    if (type === "Join") join(chat, socket, args);
    else say(socket, args);
  });
  socket.on("close", () => leave(chat, socket) && subscriber.unsubscribe(channel(chat)));
});
