// Generated from schemas/ by `task types`; do not edit.

/**
 * What a client is sent on /chat/{chatId}.
 */
export type ChatServerMessage = Joined | ChatMessage | ChatHistory | ChatExpired | Error;
export type JoinedArgs = UserJoined | SupportJoined;
/**
 * who wrote it
 */
export type Participant = "Support" | "User";

/**
 * A participant joined the chat.
 */
export interface Joined {
  type: "Joined";
  args: JoinedArgs;
}
/**
 * The args of `Joined` for a User.
 */
export interface UserJoined {
  participant: "User";
  /**
   * 128 random bits as 32 lower-case hex digits
   */
  userId: string;
}
/**
 * The args of `Joined` for a Support.
 */
export interface SupportJoined {
  participant: "Support";
  /**
   * 128 random bits as 32 lower-case hex digits
   */
  userId: string;
  /**
   * made by the server; the User learns it here
   */
  supportId: string;
  /**
   * 1..64 characters after NFC and trimming, some visible, none that controls or reorders text
   */
  supportUserName: string;
}
/**
 * A stored chat message, to every connection of the chat; to its sender it is the acknowledgement.
 */
export interface ChatMessage {
  type: "ChatMessage";
  args: StoredMessage;
}
/**
 * A chat message as it is stored: the args of `ChatMessage` and the items of `ChatHistory`.
 */
export interface StoredMessage {
  /**
   * 128 random bits as 32 lower-case hex digits
   */
  userId: string;
  /**
   * 128 random bits as 32 lower-case hex digits
   */
  supportId?: string;
  /**
   * 1..4000 characters after NFC, with line ends as \n; some visible, no controls but tab
   */
  content: string;
  /**
   * UTC with six decimals, from the Redis clock; strictly rising within a chat
   */
  timestamp: string;
  from: Participant;
}
/**
 * The conversation so far, to the connection that joined; live messages follow without gap or repeat.
 */
export interface ChatHistory {
  type: "ChatHistory";
  args: ChatHistoryArgs;
}
/**
 * The args of `ChatHistory`.
 */
export interface ChatHistoryArgs {
  /**
   * the whole conversation, oldest first
   */
  messages: StoredMessage[];
}
/**
 * The chat is expired or unknown: both look the same. The connection closes with 4510.
 */
export interface ChatExpired {
  type: "ChatExpired";
  args: ChatExpiredArgs;
}
/**
 * The args of `ChatExpired`.
 */
export interface ChatExpiredArgs {
  /**
   * 128 random bits as 32 lower-case hex digits
   */
  chatId: string;
}
/**
 * A frame was refused. The connection stays open unless a close frame follows.
 */
export interface Error {
  type: "Error";
  args: ErrorArgs;
}
/**
 * The args of `Error`.
 */
export interface ErrorArgs {
  /**
   * for programs: one of these, or one that a later version adds, a refusal like any other
   */
  code:
    | "invalid"
    | "unknown_type"
    | "not_joined"
    | "already_joined"
    | "forbidden"
    | "already_claimed"
    | "not_waiting"
    | "rate_limited"
    | "too_large"
    | "chat_full"
    | "unavailable"
    | (string & {});
  /**
   * for people: one sentence
   */
  message: string;
  /**
   * milliseconds to wait before the next try
   */
  retryAfterMs?: number;
}
