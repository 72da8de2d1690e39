//! Routes. In braces: `{id}` is a session id in any spelling, `{process}` a number; the others are names,
//! of which whatever a path cannot hold is `%`-escaped, a slash as well.

use crate::session::SessionId;

/// List, open.
pub const SESSIONS: &str = "/v1/sessions";
/// Show; `DELETE` closes.
pub const SESSION: &str = "/v1/sessions/{id}";
/// Close.
pub const CLOSE: &str = "/v1/sessions/{id}/close";
/// Drop.
pub const DROP: &str = "/v1/sessions/{id}/drop";
/// Record locks: who holds what.
pub const LOCKS: &str = "/v1/locks";
/// Closed sessions.
pub const HISTORY: &str = "/v1/history";
/// A closed session.
pub const HISTORY_ENTRY: &str = "/v1/history/{id}";
/// What operators ordered.
pub const AUDIT: &str = "/v1/audit";
/// Whether that is what was written.
pub const AUDIT_VERDICT: &str = "/v1/audit/verdict";
/// Admin tokens: see, make.
pub const TOKENS: &str = "/v1/tokens";
/// An admin token; `DELETE` revokes it.
pub const TOKEN: &str = "/v1/tokens/{token}";
/// Options: see, set.
pub const OPTIONS: &str = "/v1/options";
/// How many there are, and what happened.
pub const STATS: &str = "/v1/stats";

/// Sign a user in.
pub const LOGIN: &str = "/v1/sessions/{id}/login";
/// What the on-close method left.
pub const SAVED: &str = "/v1/sessions/{id}/saved";
/// Start a process.
pub const PROCESSES: &str = "/v1/sessions/{id}/processes";
/// How a process stands; `DELETE` ends it.
pub const PROCESS: &str = "/v1/sessions/{id}/processes/{process}";
/// All that a process has.
pub const CONTEXT: &str = "/v1/sessions/{id}/processes/{process}/context";
/// A variable of a process.
pub const VARIABLE: &str = "/v1/sessions/{id}/processes/{process}/variables/{name}";
/// A selection of a process.
pub const SELECTION: &str = "/v1/sessions/{id}/processes/{process}/selections/{name}";
/// A record that a process locks.
pub const LOCK: &str = "/v1/sessions/{id}/processes/{process}/locks/{table}/{record}";

/// On the web listener: the session of a cookie, or a new one.
pub const WEB_SESSION: &str = "/session";
/// On the web listener: whether the session of a cookie is live.
pub const CHECK: &str = "/check";
/// On the web listener: a client ends its own session.
pub const LOG_OUT: &str = "/logout";

/// Whether the process runs.
pub const HEALTH: &str = "/healthz";
/// Whether changes are acknowledged.
pub const READY: &str = "/readyz";

/// One of the routes above, for one session.
pub fn of(route: &str, id: SessionId) -> String {
    route.replace("{id}", &id.to_string())
}
