// Node as usually written: ws and ioredis, one transaction a message, one subscriber connection.
import { Redis } from "ioredis";
import { WebSocketServer } from "ws";
import { PORT, REDIS_URL, TTL_SECONDS, channel, chatOf, enter, joined, leave, logKey, membersOf, metaKey, stored } from "./chats.mjs";

const redis = new Redis(REDIS_URL);
const subscriber = new Redis(REDIS_URL);

subscriber.on("message", (name, frame) => {
  for (const socket of membersOf(name)) socket.send(frame);
});

async function join(chat, socket, args) {
  if (enter(chat, socket)) await subscriber.subscribe(channel(chat));
  await redis.multi().hset(metaKey(chat), "userId", args.userId).expire(metaKey(chat), TTL_SECONDS).exec();
  socket.send(joined(args));
}

async function say(chat, args) {
  const frame = stored(args);
  if (!(await redis.exists(metaKey(chat)))) return false;
  await redis
    .multi()
    .xadd(logKey(chat), "*", "message", frame)
    .expire(logKey(chat), TTL_SECONDS)
    .expire(metaKey(chat), TTL_SECONDS)
    .publish(channel(chat), frame)
    .exec();
  return true;
}

const server = new WebSocketServer({ host: "127.0.0.1", port: PORT, perMessageDeflate: false, backlog: 2048 });
server.on("connection", (socket, request) => {
  const chat = chatOf(request.url);
  socket.on("message", async (data) => {
    const { type, args } = JSON.parse(data);
    if (type === "Join") await join(chat, socket, args);
    else if (!(await say(chat, args))) socket.close(4510);
  });
  socket.on("close", () => leave(chat, socket) && subscriber.unsubscribe(channel(chat)));
});
