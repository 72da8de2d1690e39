//! The table of the admin API: every method of every route, what it does, and whose it is. The server lets in by it, and the
//! API's description is made from it.

use super::path;
use crate::access::Role;

/// A method of a route of the admin API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The method.
    pub method: &'static str,
    /// The path, its parts in braces.
    pub path: &'static str,
    /// What programs call it.
    pub operation: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// Who may ask for it, besides [`Role::Admin`], which may everything.
    pub roles: &'static [Role],
    /// Whether it reads the query of its path; where none is read there must be none.
    pub takes_query: bool,
}

/// Those who look.
const LOOK: &[Role] = &[Role::Viewer, Role::Closer];
/// Those who end sessions.
const END: &[Role] = &[Role::Closer];
/// Those who end sessions, and the application, which closes its own clients' (C07).
const CLOSE: &[Role] = &[Role::Closer, Role::App];
/// The application.
const APP: &[Role] = &[Role::App];
/// Nobody else.
const ADMIN: &[Role] = &[];

const fn route(
    method: &'static str,
    path: &'static str,
    operation: &'static str,
    summary: &'static str,
    roles: &'static [Role],
) -> Route {
    Route {
        method,
        path,
        operation,
        summary,
        roles,
        takes_query: false,
    }
}

const fn with_query(route: Route) -> Route {
    Route {
        takes_query: true,
        ..route
    }
}

/// The table. Whatever is not in it is nobody's.
#[rustfmt::skip]
pub const ROUTES: [Route; 31] = [
    with_query(route("GET", path::SESSIONS, "listSessions", "List the sessions that are not closed, in the order of opening", LOOK)),
    route("POST", path::SESSIONS, "openSession", "Open a session on a client's behalf", APP),
    route("GET", path::SESSION, "showSession", "One session with its processes, locks and names of variables", LOOK),
    route("DELETE", path::SESSION, "deleteSession", "Close a session; the short spelling of closeSession", END),
    route("POST", path::CLOSE, "closeSession", "Close a session: its cookie is refused from the answer on", CLOSE),
    route("POST", path::DROP, "dropSession", "End a session at once, in any mode, without its on-close method", END),
    with_query(route("GET", path::LOCKS, "listLocks", "List the record locks, and who holds them", LOOK)),
    with_query(route("GET", path::HISTORY, "listHistory", "List the closed sessions, the last one first", LOOK)),
    route("GET", path::HISTORY_ENTRY, "showClosedSession", "What is remembered of a closed session", LOOK),
    route("GET", path::STATS, "showStats", "How many sessions there are, and what happened since the start", LOOK),
    route("GET", path::OPTIONS, "listOptions", "Every option as it stands", LOOK),
    with_query(route("PATCH", path::OPTIONS, "setOptions", "Set options, or reset them, at run time", ADMIN)),
    with_query(route("GET", path::AUDIT, "listAudit", "List the audit record, the last entry first", ADMIN)),
    route("GET", path::AUDIT_VERDICT, "verifyAudit", "Whether the audit record is what was written", ADMIN),
    route("GET", path::TOKENS, "listTokens", "List the admin tokens, without their secrets", ADMIN),
    route("POST", path::TOKENS, "createToken", "Make an admin token; its secret is told this once", ADMIN),
    route("DELETE", path::TOKEN, "revokeToken", "Revoke an admin token: it is refused from the answer on", ADMIN),
    route("POST", path::LOGIN, "logIn", "Sign a user in, with a new cookie", APP),
    with_query(route("GET", path::SAVED, "takeSaved", "Hand out, once, what the on-close method left for a session", APP)),
    route("POST", path::PROCESSES, "startProcess", "Start a process", APP),
    with_query(route("GET", path::PROCESS, "pollProcess", "How a process stands; waits for it to be asked to finish", APP)),
    route("DELETE", path::PROCESS, "endProcess", "End a process", APP),
    route("GET", path::CONTEXT, "showContext", "Everything that a process has", APP),
    route("GET", path::VARIABLE, "showVariable", "The value of a variable", APP),
    route("PUT", path::VARIABLE, "setVariable", "Set a variable", APP),
    route("DELETE", path::VARIABLE, "resetVariable", "Take a variable away", APP),
    route("GET", path::SELECTION, "showSelection", "A selection of records", APP),
    route("PUT", path::SELECTION, "setSelection", "Set a selection", APP),
    route("DELETE", path::SELECTION, "destroySelection", "Destroy a selection", APP),
    with_query(route("PUT", path::LOCK, "lockRecord", "Lock a record, or wait for it", APP)),
    route("DELETE", path::LOCK, "unlockRecord", "Unlock a record", APP),
];

impl Route {
    /// The entry for a request; a `HEAD` is a `GET` whose answer has no body.
    pub fn of(method: &str, path: &str) -> Option<&'static Self> {
        let method = if method == "HEAD" { "GET" } else { method };
        ROUTES
            .iter()
            .find(|route| route.method == method && is_at(route.path, path))
    }

    /// Whether it reads a body; where none is read there must be none.
    pub fn takes_body(&self) -> bool {
        matches!(self.method, "POST" | "PUT" | "PATCH") && self.operation != "lockRecord"
    }

    /// Whether it is the application's alone, and changes or tells what the application keeps. A poll tells nothing; whom an
    /// operator opens a session for is recorded with the session.
    pub fn is_the_applications(&self) -> bool {
        let is_told_otherwise = ["openSession", "pollProcess"].contains(&self.operation);
        self.roles == APP && !is_told_otherwise
    }

    /// Whether a role may ask for it.
    pub fn is_for(&self, role: Role) -> bool {
        role == Role::Admin || self.roles.contains(&role)
    }
}

/// Whether a path, as the request has it, is at a route: each part in braces stands for one segment.
fn is_at(route: &str, path: &str) -> bool {
    let is_same = |(part, segment): (&str, &str)| {
        part == segment || part.starts_with('{') && !segment.is_empty()
    };
    route.split('/').count() == path.split('/').count()
        && route.split('/').zip(path.split('/')).all(is_same)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_request_is_at_one_route() {
        let found = |path: &str| Route::of("POST", path).map(|route| route.operation);
        assert_eq!(found("/v1/sessions/x/close"), Some("closeSession"));
        for path in [
            "/v1/sessions//close",
            "/v1/sessions/x/close/",
            "/v1/sessions/x/y/close",
            "/v1/sessions/x/Close",
            "/v1/sessions/x%2Fclose",
            "v1/sessions/x/close",
            "",
        ] {
            assert_eq!(found(path), None, "{path}");
        }
        let verdict = Route::of("HEAD", path::AUDIT_VERDICT).map(|route| route.operation);
        assert_eq!(verdict, Some("verifyAudit"));
        // No request is at two entries: who may ask is not a matter of their order.
        let filled = |route: &Route| route.path.replace(['{', '}'], "x");
        for route in &ROUTES {
            let at =
                |other: &&Route| other.method == route.method && is_at(other.path, &filled(route));
            assert_eq!(ROUTES.iter().filter(at).count(), 1, "{route:?}");
        }
    }

    #[test]
    fn programs_call_each_by_a_name_of_its_own() {
        let names: BTreeSet<_> = ROUTES.iter().map(|route| route.operation).collect();
        assert_eq!(names.len(), ROUTES.len());
    }

    /// S30: the least that each role needs. A change here is a change of who may do what.
    #[test]
    fn s30_every_role_has_the_least_that_it_needs() {
        let of = |role| {
            let routes = ROUTES.iter().filter(|route| route.is_for(role));
            routes.map(|route| route.operation).collect::<Vec<_>>()
        };
        let looks = [
            "listSessions",
            "showSession",
            "listLocks",
            "listHistory",
            "showClosedSession",
            "showStats",
            "listOptions",
        ];
        assert_eq!(of(Role::Viewer), looks);
        let ends = |operation: &&str| !looks.contains(operation);
        let closes: Vec<_> = of(Role::Closer).into_iter().filter(ends).collect();
        assert_eq!(closes, ["deleteSession", "closeSession", "dropSession"]);
        assert!(looks.iter().all(|look| of(Role::Closer).contains(look)));
        assert_eq!(of(Role::Admin).len(), ROUTES.len());
        let app = of(Role::App);
        for operation in looks.iter().chain(&[
            "deleteSession",
            "dropSession",
            "setOptions",
            "createToken",
            "listAudit",
        ]) {
            assert!(!app.contains(operation), "{operation}");
        }
        assert_eq!(app.len(), 16);
    }
}
