// Generated from schemas/ by `task types`; do not edit.

/**
 * What a client sends on /chat/{chatId}.
 */
export type ChatClientMessage = Join | NewChatMessage;
export type JoinArgs = UserJoin | SupportJoin;
export type NewChatMessageArgs = NewUserMessage | NewSupportMessage;

/**
 * The first frame of every chat connection: the participant joins, for the first time or again.
 */
export interface Join {
  type: "Join";
  args: JoinArgs;
}
/**
 * The args of a User's `Join`.
 */
export interface UserJoin {
  from: "User";
  /**
   * the registered `userId`
   */
  userId: string;
  /**
   * not looked at: the registered name counts
   */
  username?: string;
  /**
   * from an earlier `Joined`; need not be current
   */
  supportId?: string;
  /**
   * needed in a chat opened by `POST /users`
   */
  token?: string;
}
/**
 * The args of a Support's `Join`.
 */
export interface SupportJoin {
  from: "Support";
  /**
   * the `userId` of the join request
   */
  userId: string;
  /**
   * not looked at: the registered name counts
   */
  username?: string;
  /**
   * the agent's name; needed on the first `Join`
   */
  supportUserName?: string;
  /**
   * on a re-join: the chat's `supportId`
   */
  supportId?: string;
}
/**
 * A chat message as a participant sends it: the server stamps it, stores it and sends it to the whole chat.
 */
export interface NewChatMessage {
  type: "ChatMessage";
  args: NewChatMessageArgs;
}
/**
 * The args of a `ChatMessage` as a User sends it.
 */
export interface NewUserMessage {
  from: "User";
  /**
   * the connection's own `userId`
   */
  userId: string;
  /**
   * absent before an agent came; else the chat's
   */
  supportId?: string;
  /**
   * 1..4000 characters after NFC, with line ends as \n; some visible, no controls but tab
   */
  content: string;
}
/**
 * The args of a `ChatMessage` as a Support sends it.
 */
export interface NewSupportMessage {
  from: "Support";
  /**
   * the chat's `userId`
   */
  userId: string;
  /**
   * the connection's own `supportId`
   */
  supportId: string;
  /**
   * not looked at: that of the `Join` counts
   */
  supportUserName?: string;
  /**
   * 1..4000 characters after NFC, with line ends as \n; some visible, no controls but tab
   */
  content: string;
}
