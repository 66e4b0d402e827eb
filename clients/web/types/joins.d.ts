// Generated from schemas/ by `task types`; do not edit.

/**
 * What goes either way on /joins.
 */
export type JoinsMessage = JoinsServerMessage | Claim;
/**
 * What an agent is sent.
 */
export type JoinsServerMessage = JoinRequest | Error;
/**
 * What an agent sends: the bare `userId`, no JSON.
 */
export type Claim = string;

/**
 * A waiting user: sent bare on `/joins`, published on the Redis channel `Join`.
 */
export interface JoinRequest {
  participant: "User";
  /**
   * what an agent sends back to claim the user
   */
  userId: string;
  /**
   * where to join the chat: `/chat/{chatId}`
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
