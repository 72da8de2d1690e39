//! What is to be said of an operation besides its line in the table of routes: what it takes, what it answers, what it refuses.

use super::schemas::{Shape, fields_of, of, options};
use crate::admin::{AuditQuery, HistoryQuery, ListQuery, LockQuery, OpenRequest, Outcome};
use crate::application::ProcessStatus;
use crate::context::{Context, Json, Lock, Selection};
use crate::wire::ProblemType::{
    self, Closed, Closing, ContextTooLarge, HasProcess, Ignored, LimitReached, LockHeld, NoProcess,
    NoSessions, NoToken, NotFound, NotSet, ProcessClosing, TokenExists, TooManyOpens, WouldEnd,
};
use crate::wire::{
    AuditBody, AuditVerdictBody, EndBody, HistoryBody, HistoryEntryBody, ListBody, LocksBody,
    LoginBody, MintedBody, OpenedBody, OptionsBody, OptionsSetBody, SavedBody, SavedQuery,
    SelectionBody, SessionDetailsBody, SetQuery, StartBody, StatsBody, TokenBody, TokensBody,
    WaitQuery,
};

/// What an operation takes, answers and refuses.
pub(super) struct Details {
    pub(super) operation: &'static str,
    /// What it is about.
    pub(super) tag: &'static str,
    /// What the summary does not say.
    pub(super) description: &'static str,
    pub(super) query: Option<Shape>,
    pub(super) body: Option<Shape>,
    pub(super) answers: &'static [Answer],
    /// What it refuses besides what every operation of its kind does.
    pub(super) problems: &'static [ProblemType],
}

/// An answer that is no problem.
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) says: &'static str,
    pub(super) body: Option<Shape>,
    /// The headers of it, by their names in `components`.
    pub(super) headers: &'static [&'static str],
}

pub(super) const SESSIONS: &str = "Sessions";
pub(super) const RECORD: &str = "Record";
pub(super) const OPTIONS: &str = "Options";
pub(super) const TOKENS: &str = "Tokens";
pub(super) const APPLICATION: &str = "Application";
pub(super) const WEB: &str = "Web";
pub(super) const HEALTH: &str = "Health";

/// The tags, in the order of the document.
pub(super) const TAGS: [(&str, &str); 7] = [
    (SESSIONS, "Who is on the server, and ending that one."),
    (
        RECORD,
        "What has happened: closed sessions, orders, counts.",
    ),
    (OPTIONS, "What can be set while the server runs."),
    (TOKENS, "Who may come in with what, until when."),
    (
        APPLICATION,
        "For the application whose sessions they are: openings, log-ins, processes, and what they work with. Every call that \
         names a process renews its lease.",
    ),
    (
        WEB,
        "On the web listener: for web clients with their cookies, and for a proxy in front of an application.",
    ),
    (HEALTH, "On both listeners, for everybody."),
];

const fn answer(status: u16, says: &'static str, body: Shape) -> Answer {
    Answer {
        status,
        says,
        body: Some(body),
        headers: &[],
    }
}

const fn done(says: &'static str) -> [Answer; 1] {
    [Answer {
        status: 204,
        says,
        body: None,
        headers: &[],
    }]
}

/// What every call that names a process may be refused for.
const OF_PROCESS: &[ProblemType] = &[NotFound, Closed, Closing, NoProcess, ProcessClosing];
/// The same where a name is in the path.
const OF_NAME: &[ProblemType] = &[
    NotFound,
    Closed,
    Closing,
    NoProcess,
    ProcessClosing,
    ProblemType::Context,
];
/// The same where there may be nothing of the name.
const OF_LOOK: &[ProblemType] = &[
    NotFound,
    Closed,
    Closing,
    NoProcess,
    ProcessClosing,
    ProblemType::Context,
    NotSet,
];
/// The same where something is put into the context.
const OF_PUT: &[ProblemType] = &[
    NotFound,
    Closed,
    Closing,
    NoProcess,
    ProcessClosing,
    ProblemType::Context,
    ContextTooLarge,
];

const ENDED: [Answer; 2] = [
    answer(
        200,
        "What became of it: `closed`, `already_closed`, or `not_found`, which is no error.",
        of::<Outcome>,
    ),
    answer(
        202,
        "`closing`: its cookie is refused, and its processes have not finished yet.",
        of::<Outcome>,
    ),
];

/// The details, in the order of the table of routes.
pub(super) static DETAILS: [Details; 31] = [
    Details {
        operation: "listSessions",
        tag: SESSIONS,
        description: "A page of them. While `next` is there, another page follows: ask with `after` set to it.",
        query: Some(fields_of::<ListQuery>),
        body: None,
        answers: &[answer(200, "A page of the sessions.", of::<ListBody>)],
        problems: &[],
    },
    Details {
        operation: "openSession",
        tag: APPLICATION,
        description: "The answer has the cookie's value, which is never told again, and the whole `Set-Cookie` for the client.",
        query: None,
        body: Some(of::<OpenRequest>),
        answers: &[answer(201, "It is opened.", of::<OpenedBody>)],
        problems: &[LimitReached, TooManyOpens, NoSessions],
    },
    Details {
        operation: "showSession",
        tag: SESSIONS,
        description: "Names and sizes of what its processes have, never the values. Looking moves no time-out.",
        query: None,
        body: None,
        answers: &[answer(200, "The session.", of::<SessionDetailsBody>)],
        problems: &[NotFound, Closed],
    },
    Details {
        operation: "deleteSession",
        tag: SESSIONS,
        description: "Waits for nothing; an unknown session is no error.",
        query: None,
        body: None,
        answers: &ENDED,
        problems: &[Ignored],
    },
    Details {
        operation: "closeSession",
        tag: SESSIONS,
        description: "An unknown session is no error, unless `must_exist`. A session of scalable mode is left alone: 409, with \
            the outcome `ignored`. The same `request_id` again gets the original outcome, so a request whose answer never came can \
            be repeated.",
        query: None,
        body: Some(of::<EndBody>),
        answers: &ENDED,
        problems: &[NotFound, Ignored],
    },
    Details {
        operation: "dropSession",
        tag: SESSIONS,
        description: "On-close methods that have not started are not run, those that run are ended.",
        query: None,
        body: Some(of::<EndBody>),
        answers: &ENDED,
        problems: &[NotFound],
    },
    Details {
        operation: "listLocks",
        tag: SESSIONS,
        description: "In the order of their records. While `truncated`, ask again with `after_table` and `after_record` set to \
            those of the last one.",
        query: Some(fields_of::<LockQuery>),
        body: None,
        answers: &[answer(200, "A page of the locks.", of::<LocksBody>)],
        problems: &[],
    },
    Details {
        operation: "listHistory",
        tag: RECORD,
        description: "While `truncated`, ask again with `before` set to the `seq` of the last one.",
        query: Some(fields_of::<HistoryQuery>),
        body: None,
        answers: &[answer(
            200,
            "A page of the closed sessions.",
            of::<HistoryBody>,
        )],
        problems: &[],
    },
    Details {
        operation: "showClosedSession",
        tag: RECORD,
        description: "Closed sessions are forgotten after `history_retention`. One that is not closed is not found here.",
        query: None,
        body: None,
        answers: &[answer(200, "The closed session.", of::<HistoryEntryBody>)],
        problems: &[NotFound],
    },
    Details {
        operation: "showStats",
        tag: RECORD,
        description: "",
        query: None,
        body: None,
        answers: &[answer(200, "The counts.", of::<StatsBody>)],
        problems: &[],
    },
    Details {
        operation: "listOptions",
        tag: OPTIONS,
        description: "With where each value comes from. Durations are milliseconds.",
        query: None,
        body: None,
        answers: &[answer(200, "The options.", of::<OptionsBody>)],
        problems: &[],
    },
    Details {
        operation: "setOptions",
        tag: OPTIONS,
        description: "All or none. A change that would end sessions, or strand their clients, is refused unless `may_end`; \
            `dry_run` tells how many it is about. Durations are milliseconds, null resets an option.",
        query: Some(fields_of::<SetQuery>),
        body: Some(options),
        answers: &[answer(
            200,
            "What it did, or would do.",
            of::<OptionsSetBody>,
        )],
        problems: &[WouldEnd],
    },
    Details {
        operation: "listAudit",
        tag: RECORD,
        description: "While `truncated`, ask again with `before` set to the `seq` of the last one.",
        query: Some(fields_of::<AuditQuery>),
        body: None,
        answers: &[answer(200, "A page of the record.", of::<AuditBody>)],
        problems: &[],
    },
    Details {
        operation: "verifyAudit",
        tag: RECORD,
        description: "Each entry has a hash of itself and of the one before. Whoever notes `last` elsewhere sees that none was \
            taken from the end.",
        query: None,
        body: None,
        answers: &[answer(200, "The verdict.", of::<AuditVerdictBody>)],
        problems: &[],
    },
    Details {
        operation: "listTokens",
        tag: TOKENS,
        description: "By name, without their secrets; those whose time is over as well. The tokens that the server was given as \
            files are not among them.",
        query: None,
        body: None,
        answers: &[answer(200, "The tokens.", of::<TokensBody>)],
        problems: &[],
    },
    Details {
        operation: "createToken",
        tag: TOKENS,
        description: "Its secret is in the answer, and told never again: of a request whose answer never came, revoke the token and \
            make another.",
        query: None,
        body: Some(of::<TokenBody>),
        answers: &[answer(201, "It is made.", of::<MintedBody>)],
        problems: &[TokenExists],
    },
    Details {
        operation: "revokeToken",
        tag: TOKENS,
        description: "It is refused from the answer on; requests that wait with it end within half a second.",
        query: None,
        body: None,
        answers: &done("It is revoked."),
        problems: &[NoToken],
    },
    Details {
        operation: "logIn",
        tag: APPLICATION,
        description: "The old cookie is refused and the new one accepted in the same moment; the answer has the whole \
            `Set-Cookie` for the client.",
        query: None,
        body: Some(of::<LoginBody>),
        answers: &[answer(200, "The user is signed in.", of::<OpenedBody>)],
        problems: &[NotFound, Closed, Closing, LimitReached],
    },
    Details {
        operation: "takeSaved",
        tag: APPLICATION,
        description: "What it hands out is gone, although it is a GET; with `take=0`, and asked with HEAD, it only looks.",
        query: Some(fields_of::<SavedQuery>),
        body: None,
        answers: &[answer(
            200,
            "What was left, which may be nothing.",
            of::<SavedBody>,
        )],
        problems: &[
            NotFound,
            Closed,
            Closing,
            ProblemType::Busy,
            ProblemType::Unconfirmed,
        ],
    },
    Details {
        operation: "startProcess",
        tag: APPLICATION,
        description: "A web session has one process, from its opening on; a suspended one is active again by it. With a lease, the \
            process ends by itself unless it is named in time.",
        query: None,
        body: Some(of::<StartBody>),
        answers: &[answer(201, "It is started.", of::<ProcessStatus>)],
        problems: &[NotFound, Closed, Closing, HasProcess, LimitReached],
    },
    Details {
        operation: "pollProcess",
        tag: APPLICATION,
        description: "Answers at once when the process is not running, and else after `wait`, or when it is asked to finish.",
        query: Some(fields_of::<WaitQuery>),
        body: None,
        answers: &[answer(200, "How it stands.", of::<ProcessStatus>)],
        problems: OF_PROCESS,
    },
    Details {
        operation: "endProcess",
        tag: APPLICATION,
        description: "What it has is reset without the on-close method, unless it was asked to finish.",
        query: None,
        body: None,
        answers: &done("It has ended."),
        problems: OF_PROCESS,
    },
    Details {
        operation: "showContext",
        tag: APPLICATION,
        description: "With the values.",
        query: None,
        body: None,
        answers: &[answer(200, "What it has.", of::<Context>)],
        problems: OF_PROCESS,
    },
    Details {
        operation: "showVariable",
        tag: APPLICATION,
        description: "As it was written: numbers keep their digits, objects their order.",
        query: None,
        body: None,
        answers: &[answer(200, "The value.", of::<Json>)],
        problems: OF_LOOK,
    },
    Details {
        operation: "setVariable",
        tag: APPLICATION,
        description: "Any JSON value, at most `context_limit` bytes for all that the process has.",
        query: None,
        body: Some(of::<Json>),
        answers: &done("It is set."),
        problems: OF_PUT,
    },
    Details {
        operation: "resetVariable",
        tag: APPLICATION,
        description: "One that is not there is no error.",
        query: None,
        body: None,
        answers: &done("It is not there any more."),
        problems: OF_NAME,
    },
    Details {
        operation: "showSelection",
        tag: APPLICATION,
        description: "",
        query: None,
        body: None,
        answers: &[answer(200, "The selection.", of::<Selection>)],
        problems: OF_LOOK,
    },
    Details {
        operation: "setSelection",
        tag: APPLICATION,
        description: "",
        query: None,
        body: Some(of::<SelectionBody>),
        answers: &done("It is set."),
        problems: OF_PUT,
    },
    Details {
        operation: "destroySelection",
        tag: APPLICATION,
        description: "One that is not there is no error.",
        query: None,
        body: None,
        answers: &done("It is not there any more."),
        problems: OF_NAME,
    },
    Details {
        operation: "lockRecord",
        tag: APPLICATION,
        description: "A holder that asks again has it already. Who comes first gets it first; whoever breaks off the request gives \
            up. Whoever writes to the record refuses a smaller `fence` than it has seen.",
        query: Some(fields_of::<WaitQuery>),
        body: None,
        answers: &[answer(200, "The process has the lock.", of::<Lock>)],
        problems: &[
            NotFound,
            Closed,
            Closing,
            NoProcess,
            ProcessClosing,
            ProblemType::Context,
            ContextTooLarge,
            LockHeld,
        ],
    },
    Details {
        operation: "unlockRecord",
        tag: APPLICATION,
        description: "One that the process has not locked is left alone.",
        query: None,
        body: None,
        answers: &done("The process has not locked it any more."),
        problems: OF_NAME,
    },
];
