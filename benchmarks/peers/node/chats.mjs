// What every peer on Node shares: the chats, who is connected to them, and the answer to a Join.
import { randomBytes } from "node:crypto";

export const TTL_SECONDS = Number(process.env.TTL_SECONDS);
export const PORT = Number(process.env.PORT);
export const REDIS_URL = process.env.REDIS_URL;

const members = new Map();

export const chatOf = (url) => url.slice(url.lastIndexOf("/") + 1);
export const metaKey = (chat) => `live-support-bench:${chat}:meta`;
export const logKey = (chat) => `live-support-bench:${chat}:log`;
export const channel = (chat) => `live-support-bench:${chat}:live`;

/** Put a socket into its chat; true for the first one here. */
export function enter(chat, socket) {
  const here = members.get(channel(chat));
  if (here) here.add(socket);
  else members.set(channel(chat), new Set([socket]));
  return !here;
}

/** Take a socket out of its chat; true when it was the last one here. */
export function leave(chat, socket) {
  const here = members.get(channel(chat));
  here?.delete(socket);
  return here?.size === 0 && members.delete(channel(chat));
}

/** Who is in the chat of a channel. */
export const membersOf = (name) => members.get(name) ?? [];

export function joined(args) {
  const who = { participant: args.from, userId: args.userId };
  if (args.from === "Support") {
    who.supportId = randomBytes(16).toString("hex");
    who.supportUserName = args.supportUserName;
  }
  return JSON.stringify({ type: "Joined", args: who });
}

export function stored({ userId, supportId, content, from }) {
  const timestamp = new Date().toISOString();
  return JSON.stringify({ type: "ChatMessage", args: { userId, supportId, content, timestamp, from } });
}
