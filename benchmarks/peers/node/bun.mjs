// Bun: its own WebSocket server and Redis client, one script call a message (the client pipelines by itself).
import { RedisClient } from "bun";
import { PORT, REDIS_URL, TTL_SECONDS, channel, chatOf, enter, joined, leave, logKey, membersOf, metaKey, stored } from "./chats.mjs";

const STORE = `
local stored = redis.call('EXPIRE', KEYS[1], ARGV[1])
if stored == 1 then
  redis.call('XADD', KEYS[2], '*', 'message', ARGV[2])
  redis.call('EXPIRE', KEYS[2], ARGV[1])
  redis.call('PUBLISH', KEYS[3], ARGV[2])
end
return stored
`;

const TTL = String(TTL_SECONDS);
const redis = new RedisClient(REDIS_URL);
const subscriber = new RedisClient(REDIS_URL);
await redis.connect();
await subscriber.connect();
const sha = await redis.send("SCRIPT", ["LOAD", STORE]);

function deliver(frame, name) {
  for (const socket of membersOf(name)) socket.send(frame);
}

async function join(socket, args) {
  const { chat } = socket.data;
  if (enter(chat, socket)) await subscriber.subscribe(channel(chat), deliver);
  await redis.send("HSET", [metaKey(chat), "userId", args.userId]);
  await redis.send("EXPIRE", [metaKey(chat), TTL]);
  socket.send(joined(args));
}

async function say(socket, args) {
  const { keys } = socket.data;
  if (!(await redis.send("EVALSHA", [sha, "3", ...keys, TTL, stored(args)]))) socket.close(4510);
}

Bun.serve({
  hostname: "127.0.0.1",
  port: PORT,
  fetch(request, server) {
    const chat = chatOf(new URL(request.url).pathname);
    server.upgrade(request, { data: { chat, keys: [metaKey(chat), logKey(chat), channel(chat)] } });
  },
  websocket: {
    perMessageDeflate: false,
    idleTimeout: 960,
    message(socket, data) {
      const { type, args } = JSON.parse(data);
      return type === "Join" ? join(socket, args) : say(socket, args);
    },
    close(socket) {
      const { chat } = socket.data;
      if (leave(chat, socket)) subscriber.unsubscribe(channel(chat));
    },
  },
});
