//! Looks a database over from end to end, without changing it: what `sessionctl store check` tells.

use std::path::Path;

use rusqlite::{Connection, OpenFlags};

use super::OpenError;
use super::load::{Loaded, load};
use super::schema::{check_version, sqlite};
use super::{audit, mark, settings};
use crate::session::Seq;
use crate::store::Census;

/// What must hold between the tables, and the question that finds what does not. The first ones are asked at every start.
const RULES: [(&str, &str); 8] = [
    (
        "every instant is before the year 2200",
        "SELECT (SELECT count(*) FROM sessions WHERE max(created_at, last_request_at) >= 7258118400000)
            + (SELECT count(*) FROM closings WHERE max(begun_at, ifnull(closed_at, 0)) >= 7258118400000)
            + (SELECT count(*) FROM latest WHERE instant >= 7258118400000)",
    ),
    (
        "every process, variable, selection and lock belongs to a session",
        "SELECT count(*) FROM (SELECT session_seq FROM processes UNION ALL SELECT session_seq FROM variables
            UNION ALL SELECT session_seq FROM selections UNION ALL SELECT session_seq FROM locks)
         WHERE session_seq NOT IN (SELECT seq FROM sessions)",
    ),
    (
        "every closing under way has its session",
        "SELECT count(*) FROM closings WHERE closed_at IS NULL AND session_seq NOT IN (SELECT seq FROM sessions)",
    ),
    (
        "what is closed has an end",
        "SELECT count(*) FROM closings WHERE (closed_at IS NULL) <> (end_seq IS NULL)",
    ),
    (
        "every session is closed at most once",
        "SELECT count(*) FROM (SELECT 1 FROM closings GROUP BY session_seq HAVING count(*) > 1)",
    ),
    (
        "every session has an id of its own",
        "SELECT count(*) FROM (SELECT 1 FROM sessions GROUP BY id HAVING count(*) > 1)",
    ),
    (
        "every session has a token of its own",
        "SELECT count(*) FROM (SELECT 1 FROM sessions GROUP BY token_hash HAVING count(*) > 1)",
    ),
    (
        "every record is locked at most once",
        "SELECT count(*) FROM (SELECT 1 FROM locks GROUP BY table_name, record HAVING count(*) > 1)",
    ),
];

/// Rules that cost next to nothing, however many sessions there are.
const RULES_AT_START: usize = 4;

/// Problems of the file that are told at most.
const TOLD: usize = 20;

/// What a look over a database came to.
#[derive(Clone, Debug, Default)]
pub struct CheckedStore {
    /// Each thing that was looked at, in words; with what is wrong, if something is.
    pub findings: Vec<(String, Option<String>)>,
    /// How many sessions there are, if they can be read.
    pub census: Option<Census>,
    /// The last change, if it can be read.
    pub last: Option<Seq>,
}

impl CheckedStore {
    /// Whether nothing is wrong.
    pub fn is_whole(&self) -> bool {
        self.findings.iter().all(|(_, wrong)| wrong.is_none())
    }

    fn tell(&mut self, what: impl Into<String>, wrong: Option<String>) {
        self.findings.push((what.into(), wrong));
    }
}

/// Looks the database at `path` over: the file itself, the relations between its tables, every value, and whether anything
/// is missing that was acknowledged. A server may have it meanwhile.
///
/// # Errors
/// When there is nothing to look over: another program's file, a later version's, none at all.
pub fn check(path: &Path) -> Result<CheckedStore, OpenError> {
    let mut checked = CheckedStore::default();
    // Before the database: a server that runs goes on meanwhile.
    let marked = mark::read(path);
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags).map_err(sqlite(path))?;
    let version = match check_version(&connection, path) {
        Err(OpenError::Sqlite { source, .. }) => {
            checked.tell("the file is a whole database", Some(source.to_string()));
            return Ok(checked);
        }
        version => version?,
    };
    let snapshot = connection.transaction().map_err(sqlite(path))?;
    let wrong = match problems_of_the_file(&snapshot) {
        Ok(problems) if problems.is_empty() => None,
        Ok(problems) => Some(problems.join("; ")),
        Err(error) => Some(error.to_string()),
    };
    checked.tell("the file is a whole database", wrong);
    if version >= 4 {
        for (rule, question) in RULES {
            let wrong = match snapshot.query_row(question, [], |row| row.get(0)) {
                Ok(0) => None,
                Ok(count) => Some(exceptions(count)),
                Err(error) => Some(error.to_string()),
            };
            checked.tell(rule, wrong);
        }
    }
    let known = settings::read_known(&snapshot, version).map_err(sqlite(path));
    let wrong = known
        .and_then(|known| mark::check(path, marked, &known))
        .err();
    checked.tell(
        "nothing that was acknowledged is missing",
        wrong.as_ref().map(in_full),
    );
    if version > 0 {
        let loaded = load(&snapshot, path, version);
        let wrong = loaded.as_ref().err().map(in_full);
        checked.tell("every value can be read", wrong);
        if let Ok(Loaded { live, .. }) = loaded {
            (checked.census, checked.last) = (Some(live.census()), Some(live.durable()));
        }
    }
    if version >= 5 {
        let wrong = match audit::verify(&snapshot, version) {
            Ok(verdict) => verdict
                .broken_at
                .map(|seq| format!("record {seq} was changed")),
            Err(error) => Some(error.to_string()),
        };
        checked.tell("the audit record is what was written", wrong);
    }
    Ok(checked)
}

/// What is wrong with a database, as far as every start looks.
pub(super) fn first_problem(
    connection: &Connection,
    version: i64,
) -> rusqlite::Result<Option<String>> {
    let problem: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if problem != "ok" {
        return Ok(Some(problem));
    }
    if version < 4 {
        return Ok(None);
    }
    for (rule, question) in &RULES[..RULES_AT_START] {
        let count: i64 = connection.query_row(question, [], |row| row.get(0))?;
        if count > 0 {
            return Ok(Some(format!("not {rule}: {}", exceptions(count))));
        }
    }
    Ok(None)
}

fn exceptions(count: i64) -> String {
    match count {
        1 => "1 exception".into(),
        count => format!("{count} exceptions"),
    }
}

fn problems_of_the_file(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut select = connection.prepare("PRAGMA integrity_check(100)")?;
    let problems = select.query_map([], |row| row.get::<_, String>(0))?;
    problems
        .filter(|problem| !matches!(problem, Ok(text) if text == "ok"))
        .take(TOLD)
        .collect()
}

/// An error with what lies under it.
fn in_full(error: &OpenError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}
