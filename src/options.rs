//! The options: what each is called here and in 4D, its default, its range, when it acts. One table, [`OPTIONS`], feeds the
//! flags of `serve`, its file, `sessionctl options`, the admin API, the store and the man page (C10–C14, S20).

mod settings;
mod value;

use std::net::IpAddr;
use std::time::Duration;

pub use self::settings::{Layer, OptionState, Settings, add};
pub(crate) use self::value::HIGHEST_RATE;
pub use self::value::{Form, OptionError, Value, show_duration};

use crate::clock::Timestamp;
use crate::context::{LARGEST_CONTEXT, LONGEST_NAME};
use crate::session::{Mode, words};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Sessions that one server holds at most, whatever `max_sessions` says (C14).
pub const HARD_SESSION_LIMIT: usize = 1_000_000;

/// The longest time-out: browsers keep no cookie for longer than 400 days (RFC 6265bis, 5.5; S20).
pub const LONGEST_TIMEOUT: Duration = Duration::from_secs(400 * 24 * 3600);

/// How long a scalable session lives after its last request: 4D's default and minimum (C14).
pub const SCALABLE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

/// What comes from the file and the flags of `serve` alone, never over the admin API (C14, S50), with what it is.
pub const FIXED_OPTIONS: [(&str, &str); 11] = [
    ("data", "the data directory"),
    ("web", "the address and port that web clients connect to"),
    (
        "admin",
        "where operators connect to: unix:PATH or ADDRESS:PORT, beyond loopback only with TLS",
    ),
    (
        "admin_token_file",
        "the file of the admin token, for an admin address with a port",
    ),
    (
        "tls_cert",
        "the file of the certificate of an admin address with a port, the server's own first (PEM)",
    ),
    ("tls_key", "the file of the certificate's key (PEM)"),
    (
        "trusted_proxies",
        "addresses and networks of the proxies whose X-Forwarded-For is believed",
    ),
    (
        "app_token_file",
        "the file of the application's token: it opens and signs in sessions, and works with their processes",
    ),
    (
        "group_roles",
        "a table of groups of this machine with their roles on the admin socket: viewer, closer, admin, app",
    ),
    (
        "on_close",
        "the on-close method: the absolute path of a program, or save",
    ),
    (
        "on_close_arguments",
        "arguments for the program of on_close",
    ),
];

words! {
    /// Where cookies go along from other sites (RFC 6265bis, 5.6.7).
    SameSite {
        /// With requests that lead the browser here.
        Lax = "lax",
        /// With none that another site caused.
        Strict = "strict",
        /// With all; for `Secure` cookies only.
        None = "none",
    }
}

words! {
    /// Who makes room on a full server (C10).
    EvictionOrder {
        /// Sessions whose cookie never came back, then guests, then users; a guest never displaces a user.
        Safe = "safe",
        /// Whoever has been idle for longest, as in 4D.
        Oldest = "oldest",
    }
}

words! {
    /// Where the value of an option comes from; a later one wins (C14).
    Origin {
        /// Nobody set it.
        Default = "default",
        /// The file of `serve`.
        File = "file",
        /// A flag of `serve`.
        Flag = "flag",
        /// `options set`, kept over restarts until `options reset`.
        RunTime = "run_time",
    }
}

/// The values in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How sessions are managed that are opened from now on.
    pub mode: Mode,
    /// Sessions with a process that may be live at once (C10).
    pub max_sessions: usize,
    /// Time without a request after which a web session's process ends (C11).
    pub inactive_process_timeout: Duration,
    /// Time without a request after which a session ends (C12).
    pub inactive_session_timeout: Duration,
    /// Time from opening or login after which a session ends, however busy it is (C12; 4D has none).
    pub absolute_session_timeout: Duration,
    /// The cookie's name without its prefix.
    pub cookie_name: String,
    /// The cookie's domain; empty for the host alone.
    pub cookie_domain: String,
    /// The cookie's path.
    pub cookie_path: String,
    /// Where the cookie goes along from other sites.
    pub cookie_same_site: SameSite,
    /// Whether the cookie is for `https` only and carries a prefix (S18).
    pub cookie_secure: bool,
    /// Whether a request with a live cookie must come from the session's address (C13).
    pub session_ip_address_validation: bool,
    /// Bits of an IPv6 address that make one client.
    pub address_prefix_v6: u8,
    /// Time without a request before a session may make room for another (C10).
    pub eviction_min_idle: Duration,
    /// Who makes room first.
    pub eviction_order: EvictionOrder,
    /// Sessions that one client address may open in a minute; `None` for any number.
    pub open_rate: Option<u32>,
    /// Bytes that the variables, selections and locks of one process may have together.
    pub context_limit: usize,
    /// Characters that a name in a context may have.
    pub context_name_limit: usize,
    /// Time that the processes of a mobile session have to finish once they are asked to (C08).
    pub closing_grace_period: Duration,
    /// Time from the begin of a closing to its end at the latest (C09).
    pub closing_time_limit: Duration,
    /// Time that a run of the on-close method may take (C09).
    pub on_close_time_limit: Duration,
    /// Runs of the on-close method at once (C09).
    pub on_close_slots: usize,
    /// How long closed sessions are remembered.
    pub history_retention: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        Self {
            mode: Mode::Legacy,
            max_sessions: 100,
            inactive_process_timeout: minutes(480),
            inactive_session_timeout: minutes(480),
            absolute_session_timeout: minutes(30 * 24 * 60),
            cookie_name: "4DSID".into(),
            cookie_domain: String::new(),
            cookie_path: "/".into(),
            cookie_same_site: SameSite::Lax,
            cookie_secure: true,
            session_ip_address_validation: true,
            address_prefix_v6: 64,
            eviction_min_idle: minutes(1),
            eviction_order: EvictionOrder::Safe,
            open_rate: Some(60),
            context_limit: 64 * 1024,
            context_name_limit: 128,
            closing_grace_period: Duration::from_secs(30),
            closing_time_limit: Duration::from_secs(60),
            on_close_time_limit: Duration::from_secs(5),
            on_close_slots: 8,
            history_retention: minutes(30 * 24 * 60),
        }
    }
}

impl Options {
    /// When a session expires whose last request came at `last_request_at` and that was opened, or signed in, at `since` (C12).
    ///
    /// A mobile session brings its own time-out (C11).
    pub fn expires_at(
        &self,
        mode: Mode,
        own_timeout: Option<Duration>,
        since: Timestamp,
        last_request_at: Timestamp,
    ) -> Timestamp {
        let idle = match (own_timeout, mode) {
            (Some(own), _) => own,
            (None, Mode::Scalable) => SCALABLE_TIMEOUT,
            (None, Mode::Legacy | Mode::None) => self.inactive_session_timeout,
        };
        let idle = last_request_at.plus(idle);
        idle.min(self.ends_at(since))
    }

    /// When a session ends at the latest that was opened, or signed in, at `since` (C12). So long may its client keep the
    /// cookie (S20): requests extend the session that the client's cookie knows nothing of.
    pub fn ends_at(&self, since: Timestamp) -> Timestamp {
        since.plus(self.absolute_session_timeout)
    }

    /// When the process of such a session ends while its cookie lives on (C11); `None` if the session ends first or with it.
    pub fn process_ends_at(&self, mode: Mode, last_request_at: Timestamp) -> Option<Timestamp> {
        let outlives = self.inactive_session_timeout > self.inactive_process_timeout;
        (mode == Mode::Legacy && outlives)
            .then(|| last_request_at.plus(self.inactive_process_timeout))
    }

    /// Whether two addresses are one client: IPv4 and its `::ffff:` form are, and IPv6 addresses of one prefix (C13).
    pub fn is_same_client(&self, one: IpAddr, other: IpAddr) -> bool {
        self.client_of(one) == self.client_of(other)
    }

    /// What stands for a client: its IPv4 address, or the prefix of its IPv6 address.
    pub fn client_of(&self, address: IpAddr) -> IpAddr {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let host_bits = 128 - u32::from(self.address_prefix_v6.clamp(1, 128));
                let mask = u128::MAX.checked_shl(host_bits).unwrap_or_default();
                IpAddr::V6((v6.to_bits() & mask).into())
            }
            v4 => v4,
        }
    }

    /// Refuses what no single option can see.
    fn check_together(&self) -> Result<(), OptionError> {
        if self.cookie_same_site == SameSite::None && !self.cookie_secure {
            let why = "browsers refuse a cookie for all sites that is not secure: set cookie_secure to on, or another value";
            return Err(OptionError::new("cookie_same_site", "none", why));
        }
        if !self.cookie_path.starts_with('/') {
            return Err(OptionError::new(
                "cookie_path",
                &self.cookie_path,
                "it begins with /",
            ));
        }
        Ok(())
    }
}

/// One option, as everybody sees it.
pub struct OptionSpec {
    /// Our name, the same in flags (with hyphens), file, API and commands.
    pub name: &'static str,
    /// The property of 4D's Web Server object that it is like.
    pub name_in_4d: Option<&'static str>,
    /// How its values are written, and which there are.
    pub form: Form,
    /// When a new value acts.
    pub acts: &'static str,
    /// What it is for.
    pub summary: &'static str,
    get: fn(&Options) -> Value,
    set: fn(&mut Options, &Value),
}

impl fmt::Debug for OptionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl OptionSpec {
    /// The option of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        OPTIONS.iter().find(|spec| spec.name == name)
    }

    /// Its value among these.
    pub fn value(&self, options: &Options) -> Value {
        (self.get)(options)
    }

    /// Its default.
    pub fn default(&self) -> Value {
        self.value(&Options::default())
    }

    /// Reads a value as it is typed; `None` stands for the default (C14: 0, or the empty text).
    ///
    /// # Errors
    /// When the text is no value of this option.
    pub fn parse(&self, text: &str) -> Result<Option<Value>, OptionError> {
        self.form.parse(self.name, text)
    }

    /// Checks a value that came as JSON; `None` stands for the default.
    ///
    /// # Errors
    /// When it is of another type, or out of range.
    pub fn check(&self, value: Value) -> Result<Option<Value>, OptionError> {
        self.form.check(self.name, value)
    }

    /// A value as it is typed.
    pub fn show(&self, value: &Value) -> String {
        self.form.show(value)
    }
}

/// When an option acts that the next look-up of a session reads.
const AT_ONCE: &str = "at once, on every session";

const ON_COOKIES: &str = "with the next cookie; a new name is another cookie";

const ON_OPENING: &str = "on sessions opened from then on";

const ON_CLOSINGS: &str = "on closings that begin from then on";

/// A time-out that 4D has: 0 restores its default.
const TIMEOUT_OF_4D: Form = Form::Duration {
    least: Duration::from_secs(1),
    most: LONGEST_TIMEOUT,
    zero_restores: true,
};

/// Every option that can be set at run time.
pub static OPTIONS: [OptionSpec; 23] = [
    OptionSpec {
        name: "mode",
        name_in_4d: Some("scalableSession"),
        form: Form::Word(&["legacy", "scalable", "none"]),
        acts: ON_OPENING,
        summary: "how sessions are managed: legacy (one process each), scalable (close-session ignores them), none (no new sessions)",
        get: |options| Value::word(options.mode.as_str()),
        set: |options, value| value.as_word(Mode::from_word, &mut options.mode),
    },
    OptionSpec {
        name: "keep_session",
        name_in_4d: Some("keepSession"),
        form: Form::Switch,
        acts: ON_OPENING,
        summary: "another name for mode: off is mode none",
        get: |options| Value::Switch(options.mode != Mode::None),
        // It is kept as `mode`: see `settings`.
        set: |_, _| {},
    },
    OptionSpec {
        name: "max_sessions",
        name_in_4d: Some("maxSessions"),
        form: Form::Count {
            least: 1,
            most: HARD_SESSION_LIMIT as u64,
            unit: "sessions",
            zero_restores: true,
        },
        acts: "at once; what is too many and idle ends",
        summary: "legacy sessions with a process that may be live at once",
        get: |options| Value::Number(options.max_sessions as u64),
        set: |options, value| value.as_number(&mut options.max_sessions),
    },
    OptionSpec {
        name: "inactive_process_timeout",
        name_in_4d: Some("inactiveProcessTimeout"),
        form: TIMEOUT_OF_4D,
        acts: AT_ONCE,
        summary: "time without a request after which a session is suspended, if inactive_session_timeout is longer",
        get: |options| Value::duration(options.inactive_process_timeout),
        set: |options, value| value.as_duration(&mut options.inactive_process_timeout),
    },
    OptionSpec {
        name: "inactive_session_timeout",
        name_in_4d: Some("inactiveSessionTimeout"),
        form: TIMEOUT_OF_4D,
        acts: AT_ONCE,
        summary: "time without a request after which a legacy session ends; a scalable one ends after 60m",
        get: |options| Value::duration(options.inactive_session_timeout),
        set: |options, value| value.as_duration(&mut options.inactive_session_timeout),
    },
    OptionSpec {
        name: "absolute_session_timeout",
        name_in_4d: None,
        form: Form::Duration {
            least: Duration::from_secs(1),
            most: LONGEST_TIMEOUT,
            zero_restores: false,
        },
        acts: AT_ONCE,
        summary: "time from opening or login after which a session ends, however busy it is",
        get: |options| Value::duration(options.absolute_session_timeout),
        set: |options, value| value.as_duration(&mut options.absolute_session_timeout),
    },
    OptionSpec {
        name: "cookie_name",
        name_in_4d: Some("sessionCookieName"),
        form: Form::CookieName,
        acts: ON_COOKIES,
        summary: "the cookie's name; __Host- or __Secure- is put before it unless cookie_secure is off",
        get: |options| Value::Text(options.cookie_name.clone()),
        set: |options, value| value.as_text(&mut options.cookie_name),
    },
    OptionSpec {
        name: "cookie_domain",
        name_in_4d: Some("sessionCookieDomain"),
        form: Form::CookieDomain,
        acts: ON_COOKIES,
        summary: "the domain whose hosts all get the cookie; empty for this host alone",
        get: |options| Value::Text(options.cookie_domain.clone()),
        set: |options, value| value.as_text(&mut options.cookie_domain),
    },
    OptionSpec {
        name: "cookie_path",
        name_in_4d: Some("sessionCookiePath"),
        form: Form::CookiePath,
        acts: ON_COOKIES,
        summary: "the path below which the cookie is sent",
        get: |options| Value::Text(options.cookie_path.clone()),
        set: |options, value| value.as_text(&mut options.cookie_path),
    },
    OptionSpec {
        name: "cookie_same_site",
        name_in_4d: Some("sessionCookieSameSite"),
        form: Form::Word(&["lax", "strict", "none"]),
        acts: "with the next cookie",
        summary: "whether the cookie goes along with requests from other sites",
        get: |options| Value::word(options.cookie_same_site.as_str()),
        set: |options, value| value.as_word(SameSite::from_word, &mut options.cookie_same_site),
    },
    OptionSpec {
        name: "cookie_secure",
        name_in_4d: None,
        form: Form::Switch,
        acts: ON_COOKIES,
        summary: "whether the cookie is for https only; off for a site without TLS in front",
        get: |options| Value::Switch(options.cookie_secure),
        set: |options, value| value.as_switch(&mut options.cookie_secure),
    },
    OptionSpec {
        name: "session_ip_address_validation",
        name_in_4d: Some("sessionIPAddressValidation"),
        form: Form::Switch,
        acts: AT_ONCE,
        summary: "whether a live cookie is refused from another address than the session's",
        get: |options| Value::Switch(options.session_ip_address_validation),
        set: |options, value| value.as_switch(&mut options.session_ip_address_validation),
    },
    OptionSpec {
        name: "address_prefix_v6",
        name_in_4d: None,
        form: Form::Count {
            least: 1,
            most: 128,
            unit: "bits",
            zero_restores: false,
        },
        acts: AT_ONCE,
        summary: "bits of an IPv6 address that make one client",
        get: |options| Value::Number(options.address_prefix_v6.into()),
        set: |options, value| value.as_number(&mut options.address_prefix_v6),
    },
    OptionSpec {
        name: "eviction_min_idle",
        name_in_4d: None,
        form: Form::Duration {
            least: Duration::ZERO,
            most: LONGEST_TIMEOUT,
            zero_restores: false,
        },
        acts: "with the next opening",
        summary: "time without a request before a session may make room on a full server",
        get: |options| Value::duration(options.eviction_min_idle),
        set: |options, value| value.as_duration(&mut options.eviction_min_idle),
    },
    OptionSpec {
        name: "eviction_order",
        name_in_4d: None,
        form: Form::Word(&["safe", "oldest"]),
        acts: "with the next opening",
        summary: "who makes room: safe (cookies that never came back, guests, users; no guest displaces a user) or oldest (as in 4D)",
        get: |options| Value::word(options.eviction_order.as_str()),
        set: |options, value| value.as_word(EvictionOrder::from_word, &mut options.eviction_order),
    },
    OptionSpec {
        name: "open_rate",
        name_in_4d: None,
        form: Form::Rate,
        acts: "with the next opening",
        summary: "sessions that one client address may open in a minute",
        get: |options| {
            options
                .open_rate
                .map_or_else(|| Value::word("off"), |rate| Value::Number(rate.into()))
        },
        set: |options, value| value.as_rate(&mut options.open_rate),
    },
    OptionSpec {
        name: "context_limit",
        name_in_4d: None,
        form: Form::Count {
            least: 0,
            most: LARGEST_CONTEXT as u64,
            unit: "bytes",
            zero_restores: false,
        },
        acts: "with the next value that is written",
        summary: "bytes that the variables, selections and locks of one process may have",
        get: |options| Value::Number(options.context_limit as u64),
        set: |options, value| value.as_number(&mut options.context_limit),
    },
    OptionSpec {
        name: "context_name_limit",
        name_in_4d: None,
        form: Form::Count {
            least: 1,
            most: LONGEST_NAME as u64,
            unit: "characters",
            zero_restores: false,
        },
        acts: "with the next value that is written",
        summary: "characters that the name of a variable, selection, table or record may have",
        get: |options| Value::Number(options.context_name_limit as u64),
        set: |options, value| value.as_number(&mut options.context_name_limit),
    },
    OptionSpec {
        name: "closing_grace_period",
        name_in_4d: None,
        form: Form::Duration {
            least: Duration::ZERO,
            most: Duration::from_secs(600),
            zero_restores: false,
        },
        acts: ON_CLOSINGS,
        summary: "time that the processes of a mobile session have to finish once they are asked to",
        get: |options| Value::duration(options.closing_grace_period),
        set: |options, value| value.as_duration(&mut options.closing_grace_period),
    },
    OptionSpec {
        name: "closing_time_limit",
        name_in_4d: None,
        form: Form::Duration {
            least: Duration::from_secs(1),
            most: Duration::from_secs(3600),
            zero_restores: false,
        },
        acts: ON_CLOSINGS,
        summary: "time after which a closing ends, whatever its on-close method does",
        get: |options| Value::duration(options.closing_time_limit),
        set: |options, value| value.as_duration(&mut options.closing_time_limit),
    },
    OptionSpec {
        name: "on_close_time_limit",
        name_in_4d: None,
        form: Form::Duration {
            least: Duration::from_millis(100),
            most: Duration::from_secs(600),
            zero_restores: false,
        },
        acts: "with the next run",
        summary: "time that a run of the on-close method may take",
        get: |options| Value::duration(options.on_close_time_limit),
        set: |options, value| value.as_duration(&mut options.on_close_time_limit),
    },
    OptionSpec {
        name: "on_close_slots",
        name_in_4d: None,
        form: Form::Count {
            least: 1,
            most: 64,
            unit: "runs",
            zero_restores: false,
        },
        acts: "with the next run",
        summary: "runs of the on-close method at once",
        get: |options| Value::Number(options.on_close_slots as u64),
        set: |options, value| value.as_number(&mut options.on_close_slots),
    },
    OptionSpec {
        name: "history_retention",
        name_in_4d: None,
        form: Form::Duration {
            least: Duration::from_secs(3600),
            most: LONGEST_TIMEOUT,
            zero_restores: false,
        },
        acts: "within a minute",
        summary: "how long closed sessions are remembered",
        get: |options| Value::duration(options.history_retention),
        set: |options, value| value.as_duration(&mut options.history_retention),
    },
];
