// Generated from schemas/ by `task types`; do not edit.

/**
 * What HTTP requests and answers hold.
 */
export type HttpBody = Health | NewUser | Problem | RegisteredUser | RegisteredUserWithToken;
/**
 * `ok` only with status 200
 */
export type HealthStatus = "ok" | "unavailable";

/**
 * The answer to `GET /health`.
 */
export interface Health {
  status: HealthStatus;
  /**
   * why it is unavailable
   */
  reason?: string;
}
/**
 * The body of `POST /users`.
 */
export interface NewUser {
  /**
   * 1..64 characters after NFC and trimming, some visible, none that controls or reorders text
   */
  username: string;
}
/**
 * Why a request was refused, in the form of RFC 9457 (`application/problem+json`).
 */
export interface Problem {
  /**
   * the HTTP status
   */
  status: number;
  /**
   * what the status means
   */
  title: string;
  /**
   * for people: one sentence
   */
  detail: string;
  /**
   * for programs: one of these, or one that a later version adds, a refusal like any other
   */
  code?:
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
    | "not_found"
    | "method_not_allowed"
    | (string & {});
  /**
   * of a 429 or 503: milliseconds to wait before the next try
   */
  retryAfterMs?: number;
}
/**
 * The answer to `GET /user/join/{userName}`.
 */
export interface RegisteredUser {
  /**
   * who the user is, in every later message
   */
  userId: string;
  /**
   * the name as the server keeps it
   */
  username: string;
  /**
   * where to chat: `/chat/{chatId}`
   */
  chatId: string;
}
/**
 * The answer to `POST /users`.
 */
export interface RegisteredUserWithToken {
  /**
   * who the user is, in every later message
   */
  userId: string;
  /**
   * the name as the server keeps it
   */
  username: string;
  /**
   * where to chat: `/chat/{chatId}`
   */
  chatId: string;
  /**
   * secret of the user; every User `Join` of this chat needs it
   */
  token: string;
}
