// A UI as it would use the types; it is only compiled, and must fail to where an error is expected.

import type { ChatClientMessage } from "../types/chat.client";
import type { ChatServerMessage } from "../types/chat.server";
import type { RegisteredUser } from "../types/http";
import type { JoinsServerMessage } from "../types/joins";

export function joinFrame(user: RegisteredUser): string {
  const join: ChatClientMessage = {
    type: "Join",
    args: { from: "User", userId: user.userId, username: user.username },
  };
  return JSON.stringify(join);
}

export function describe(message: ChatServerMessage): string {
  switch (message.type) {
    case "Joined":
      return message.args.participant === "Support" ? message.args.supportUserName : message.args.userId;
    case "ChatMessage":
      return `${message.args.from} at ${message.args.timestamp}: ${message.args.content}`;
    case "ChatHistory":
      return message.args.messages.map((stored) => stored.content).join("\n");
    case "ChatExpired":
      return message.args.chatId;
    case "Error":
      if (message.args.code === "rate_limited") return "Too fast.";
      return `${message.args.code}, again in ${message.args.retryAfterMs ?? 0} ms`;
  }
}

export function waitingUser(message: JoinsServerMessage): string | undefined {
  return "participant" in message ? message.userId : undefined;
}

// @ts-expect-error a Support has no way to be told apart by another word
export const wrongSender: ChatClientMessage = { type: "Join", args: { from: "Bot", userId: "" } };

// @ts-expect-error the content is missing
export const noContent: ChatClientMessage = { type: "ChatMessage", args: { from: "User", userId: "" } };
