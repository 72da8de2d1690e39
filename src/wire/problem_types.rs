//! The table of problem types: what a refusal is called, its status, and what a person can do. No type exists outside it.

/// What every problem type begins with.
pub(super) const PREFIX: &str = "urn:sessionctl:problem:";

/// What a type of the table is.
struct Row {
    name: &'static str,
    status: u16,
    title: &'static str,
    meaning: &'static str,
    advice: &'static str,
}

/// Declares the types with their rows: name, status, title, meaning, what to try.
macro_rules! problem_types {
    ($($variant:ident = $name:literal, $status:literal, $title:literal, $meaning:literal, $advice:literal;)+) => {
        /// The type of a problem (RFC 9457).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum ProblemType { $(#[doc = $meaning] $variant,)+ }

        impl ProblemType {
            /// Every type, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn row(self) -> Row {
                match self {
                    $(Self::$variant => Row {
                        name: $name,
                        status: $status,
                        title: $title,
                        meaning: $meaning,
                        advice: $advice,
                    },)+
                }
            }
        }
    };
}

#[rustfmt::skip]
problem_types! {
    Invalid = "invalid", 400, "malformed request", "The request is malformed; `detail` says where.", "Mend the request; the same one is refused again.";
    OtherAddress = "other-address", 400, "other address", "A live cookie came from another address than its session's. Nothing was opened and no cookie was set. A proxy that asks for its client is answered 403.", "The user signs in anew, or `session_ip_address_validation` is set to off.";
    Unauthenticated = "unauthenticated", 401, "not authenticated", "No token was presented, or one that is not known.", "Present a token as `Authorization: Bearer`; the command line reads it from `--token-file`.";
    Rotated = "rotated", 401, "cookie replaced", "The cookie was replaced at a log-in a moment ago: a late request is not to overwrite the fresh one.", "Send the request again with the fresh cookie.";
    Forbidden = "forbidden", 403, "not allowed", "Whoever asks is known, and may not do this; or the request came from a page of another site.", "Ask with a token whose role is enough, or as the owner of the admin socket.";
    NoSessions = "no-sessions", 403, "no sessions", "The server opens no sessions: its mode is none.", "`sessionctl options set mode legacy`";
    NotFound = "not-found", 404, "no such session", "No session has this UUID; one that was closed long ago is forgotten.", "`sessionctl list` shows the sessions that there are.";
    NoProcess = "no-process", 404, "no such process", "The session has no process of this number, or it has ended.", "`sessionctl show UUID` tells which processes there are.";
    NoToken = "no-token", 404, "no such token", "No admin token has this name; it was never made, or revoked.", "`sessionctl token list` shows those that there are.";
    NotSet = "not-set", 404, "nothing of this name", "The process has no variable, or no selection, of this name.", "`sessionctl show UUID` tells which names there are.";
    UnknownRoute = "unknown-route", 404, "no such route", "There is nothing at this path on this listener.", "Compare the path with `sessionctl openapi`, and the version with that of the server.";
    Method = "method", 405, "method not allowed", "The path does not take this method; the header `Allow` lists those that it takes.", "Use one of those.";
    TooSlow = "too-slow", 408, "body too slow", "The body of the request did not come in time.", "Send the request again, with its body at once.";
    Closing = "closing", 409, "the session is closing", "The closing of the session is under way; this is refused meanwhile.", "Open another session; this one does not come back.";
    ProcessClosing = "process-closing", 409, "the process is closing", "The on-close method of the process is pending, or runs, and sees it as it is.", "Nothing: what the process has is not changed any more.";
    HasProcess = "has-process", 409, "the session has its process", "A web session has one process, and this one has it.", "Use process 1, or open a mobile session.";
    LockHeld = "lock-held", 409, "the record is locked", "Another process holds the lock; `session`, `process`, `user` and `since` say which.", "Ask again with `?wait=30s`, or end the session that holds it.";
    TokenExists = "token-exists", 409, "the name is taken", "An admin token has this name already. None was made.", "Take another name, or first `sessionctl token revoke NAME`.";
    WouldEnd = "would-end", 409, "sessions would end", "The change of options would end sessions, or strand their clients, which was not confirmed. Nothing was changed.", "The same with `?may_end=true`; the command line takes `--yes`.";
    Ignored = "ignored", 409, "ignored in scalable mode", "The session was opened in scalable mode, which a close leaves alone.", "`sessionctl drop-session UUID` ends it.";
    Closed = "closed", 410, "the session is closed", "The session was there and has ended; `cause` and `closed_at` say how and when.", "`sessionctl history show UUID` tells more.";
    TooLarge = "too-large", 413, "body too large", "The body of the request has more bytes than it may have here: `limit`.", "Send less.";
    ContextTooLarge = "context-too-large", 413, "context too large", "The context of the process would have more bytes than it may have. Nothing was changed.", "Take something out of it, or raise `context_limit`.";
    TargetTooLong = "target-too-long", 414, "target too long", "The target of the request does not fit into the head that it may have.", "Send what is long in a body.";
    MediaType = "media-type", 415, "unsupported media type", "The body is not JSON by its `Content-Type`.", "Send it as `application/json`.";
    Misdirected = "misdirected", 421, "misdirected request", "The `Host` of the request is not a name of this machine, nor one that the server's certificate is for.", "Call the admin API by a loopback address, as `localhost`, or by a name in the certificate.";
    Context = "context", 422, "not for a context", "A name or a value is not one that a context takes; `what` and `detail` say why.", "Mend the name or the value; the same one is refused again.";
    TooManyOpens = "too-many-opens", 429, "too many sessions opened", "One client address opens sessions faster than `open_rate` allows.", "Try again after `Retry-After`.";
    TooManyAttempts = "too-many-attempts", 429, "too many attempts", "Too many tokens that are nobody's came from one source in a minute; tokens that are good are let in all the same.", "Try again after `Retry-After`, with a token of `sessionctl token create`.";
    HeadTooLarge = "head-too-large", 431, "header fields too large", "The head of the request is larger than it may be, or has more header fields.", "Send fewer or shorter header fields; a cookie of another application may be the long one.";
    Internal = "internal", 500, "internal error", "Something that should not happen; the server's log has more.", "Look into the log, and report it.";
    LimitReached = "limit-reached", 503, "session limit reached", "All sessions that the server may have are in use, and none is idle for long enough to make room.", "Try again after `Retry-After`, close sessions, or raise `max_sessions`.";
    Busy = "busy", 503, "busy", "More changes wait for the disk, or more bodies are on their way, than may. Nothing was changed.", "Try again after `Retry-After`.";
    Unavailable = "unavailable", 503, "store unavailable", "The server has lost its disk and answers for nothing any more. Nothing was changed.", "Look into its log for the disk error, mend it, restart the server.";
    Unconfirmed = "unconfirmed", 503, "change not confirmed", "The disk failed while it wrote the change: whether it was made shows after a restart.", "Restart the server, then look whether it was made.";
    Version = "version", 505, "HTTP version not supported", "The request speaks a version of HTTP that this server does not.", "Speak HTTP/1.1.";
}

impl ProblemType {
    /// The last part of its URI.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The HTTP status.
    pub fn status(self) -> u16 {
        self.row().status
    }

    /// What it is, the same for every occurrence.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// What it means to a person. Names are in backticks.
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// What a person can try.
    pub fn advice(self) -> &'static str {
        self.row().advice
    }

    /// What a problem has as its `type`.
    pub fn uri(self) -> String {
        format!("{PREFIX}{}", self.name())
    }

    /// The type with this URI.
    pub fn of_uri(uri: &str) -> Option<Self> {
        let name = uri.strip_prefix(PREFIX)?;
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s33_every_type_has_a_name_of_its_own_and_says_what_to_do() {
        let mut last = 0;
        for kind in ProblemType::ALL {
            assert_eq!(ProblemType::of_uri(&kind.uri()), Some(*kind));
            assert!(
                kind.name()
                    .bytes()
                    .all(|c| c.is_ascii_lowercase() || c == b'-'),
                "{kind:?}"
            );
            assert!((400..600).contains(&kind.status()), "{kind:?}");
            assert!(
                last <= kind.status(),
                "in the order of the statuses: {kind:?}"
            );
            last = kind.status();
            for text in [kind.title(), kind.meaning(), kind.advice()] {
                assert!(!text.is_empty(), "{kind:?}");
                assert_eq!(text.matches('`').count() % 2, 0, "{text}");
            }
        }
        assert_eq!(ProblemType::of_uri("about:blank"), None);
        assert_eq!(ProblemType::of_uri("invalid"), None);
    }
}
