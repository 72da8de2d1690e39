//! What must hold whatever somebody sends: each function takes any bytes and panics where something does not hold. The fuzz
//! targets draw the bytes, and `tests/it` replays the corpora.

// `tests/it` has this file as a module of its own.
#![allow(unreachable_pub)]

mod admin;
mod config;
mod cookie;
mod forwarded;
mod json;
mod table;
mod uuid;

pub use self::admin::{admin_body, admin_guard, admin_query};
pub use self::config::config;
pub use self::cookie::cookie;
pub use self::forwarded::forwarded;
pub use self::json::json;
pub use self::table::{csv_rows, table};
pub use self::uuid::uuid;

/// What takes any bytes.
pub type Target = fn(&[u8]);

/// Every target, by the name of its corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("admin_body", admin_body),
    ("admin_guard", admin_guard),
    ("admin_query", admin_query),
    ("config", config),
    ("cookie", cookie),
    ("forwarded", forwarded),
    ("json", json),
    ("table", table),
    ("uuid", uuid),
];

/// Characters that drive a terminal, turn the direction of text or are not seen.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{61c}' | '\u{feff}')
}

/// Whether text may stand on a terminal: of what is deceptive it has line ends alone.
fn is_plain(text: &str) -> bool {
    !text.chars().any(|c| c != '\n' && is_deceptive(c))
}
