//! The routes of the web listener, and those that both listeners have: they are in no table of roles.

use schemars::{Schema, generate::SchemaGenerator, json_schema};

use super::operations::{Answer, Details, HEALTH, WEB};
use super::schemas::of;
use crate::wire::ProblemType::{
    self, Busy, Forbidden, Internal, Invalid, LimitReached, NoSessions, OtherAddress, Rotated,
    TooManyOpens, Unavailable, Unconfirmed,
};
use crate::wire::{VisitBody, path};

/// A route that needs no role.
pub(super) struct Open {
    pub(super) path: &'static str,
    /// Its methods, each with the name of its operation. The details are the same for all.
    pub(super) methods: &'static [(&'static str, &'static str)],
    pub(super) summary: &'static str,
    pub(super) cookie: Cookie,
    /// What it answers with a 403 to a proxy, whatever status the problem has elsewhere.
    pub(super) to_proxy: &'static [ProblemType],
    pub(super) details: Details,
}

/// Whether a request brings the session's cookie.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Cookie {
    Never,
    Perhaps,
    Always,
}

/// Names of headers in `components`.
pub(super) const SET_COOKIE: &str = "Set-Cookie";
const SESSION_ID: &str = "X-Session-Id";
const SESSION_USER: &str = "X-Session-User";
const REMOTE_USER: &str = "Remote-User";

fn auth(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "properties": { "auth": {
        "type": "string",
        "description": "1: a proxy asks on behalf of its client. The answer has the headers of /check, and a 403 where it would \
            be a 400. A cookie is set only with a new session. Anything else is not looked at.",
    } } })
}

fn touch(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "properties": { "touch": {
        "type": "string",
        "description": "0: it is no request of the client, and moves no time-out. Anything else counts as one.",
    } } })
}

const fn empty(status: u16, says: &'static str, headers: &'static [&'static str]) -> Answer {
    Answer {
        status,
        says,
        body: None,
        headers,
    }
}

/// The routes, in the order of the document.
pub(super) static OPEN: [Open; 5] = [
    Open {
        path: path::WEB_SESSION,
        methods: &[("GET", "enter")],
        summary: "The session of the cookie, or a new one with a new cookie",
        cookie: Cookie::Perhaps,
        to_proxy: &[Invalid, OtherAddress],
        details: Details {
            operation: "enter",
            tag: WEB,
            description: "A request of the client: it moves the session's time-out. What a client made up is never adopted.",
            query: Some(auth),
            body: None,
            answers: &[Answer {
                status: 200,
                says: "The client's session.",
                body: Some(of::<VisitBody>),
                headers: &[SET_COOKIE, SESSION_ID, SESSION_USER, REMOTE_USER],
            }],
            problems: &[
                Invalid,
                OtherAddress,
                Rotated,
                NoSessions,
                TooManyOpens,
                Internal,
                LimitReached,
                Busy,
                Unavailable,
                Unconfirmed,
            ],
        },
    },
    Open {
        path: path::CHECK,
        methods: &[
            ("GET", "check"),
            ("PUT", "checkPut"),
            ("POST", "checkPost"),
            ("DELETE", "checkDelete"),
            ("OPTIONS", "checkOptions"),
            ("PATCH", "checkPatch"),
        ],
        summary: "Whether the session of the cookie is live, and whose it is",
        cookie: Cookie::Always,
        to_proxy: &[OtherAddress],
        details: Details {
            operation: "check",
            tag: WEB,
            description: "For a proxy that asks about every request (forward auth), with the method of that request. Opens nothing, \
                reads no body.",
            query: Some(touch),
            body: None,
            answers: &[
                empty(200, "It is live.", &[SESSION_ID, SESSION_USER, REMOTE_USER]),
                empty(401, "It is not, or there is no cookie.", &[]),
            ],
            problems: &[Internal, LimitReached, Busy, Unavailable, Unconfirmed],
        },
    },
    Open {
        path: path::LOG_OUT,
        methods: &[("POST", "logOut")],
        summary: "A client ends its own session",
        cookie: Cookie::Always,
        to_proxy: &[],
        details: Details {
            operation: "logOut",
            tag: WEB,
            description: "From any address, but from no page of another site. The cookie is deleted. A 401 without a body says that \
                there was no live session.",
            query: None,
            body: None,
            answers: &[
                empty(204, "The session is closed.", &[SET_COOKIE]),
                empty(401, "There was no live session.", &[SET_COOKIE]),
            ],
            problems: &[Rotated, Forbidden, Internal, Busy, Unavailable, Unconfirmed],
        },
    },
    Open {
        path: path::HEALTH,
        methods: &[("GET", "health")],
        summary: "Whether the process runs",
        cookie: Cookie::Never,
        to_proxy: &[],
        details: Details {
            operation: "health",
            tag: HEALTH,
            description: "",
            query: None,
            body: None,
            answers: &[empty(200, "It runs.", &[])],
            problems: &[],
        },
    },
    Open {
        path: path::READY,
        methods: &[("GET", "ready")],
        summary: "Whether changes are acknowledged",
        cookie: Cookie::Never,
        to_proxy: &[],
        details: Details {
            operation: "ready",
            tag: HEALTH,
            description: "",
            query: None,
            body: None,
            answers: &[empty(200, "They are.", &[])],
            problems: &[Internal, Unavailable],
        },
    },
];
