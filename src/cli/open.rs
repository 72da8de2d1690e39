//! `sessionctl open-session`. Prints the UUID; the secret goes into a cookie jar or nowhere.

use std::fs;
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use tempfile::NamedTempFile;

use super::exit::{Exit, Failure};
use super::output::{Format, Output};
use super::rows::Row as _;
use super::target::{Access, Context, Operation};
use crate::admin::{Admin, OpenRequest, Opened};
use crate::session::{Kind, Session};
use crate::wire::SessionBody;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// Who is signed in; without it the session is a guest's
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The client's address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// What the client says it is
    #[arg(long, value_name = "TEXT")]
    user_agent: Option<String>,
    /// What kind of client it serves: web (one process) or mobile (any number of them)
    #[arg(long, value_name = "KIND", default_value = "web", value_parser = kind())]
    kind: Kind,
    /// Time without a request after which a mobile session ends: at least 60m, which is the default
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    idle_timeout: Option<Duration>,
    /// Write the session's cookie into this file, in the form that curl reads
    #[arg(long, value_name = "FILE")]
    cookie_jar: Option<PathBuf>,
    /// The host that the cookie in the jar is for
    #[arg(
        long,
        value_name = "HOST",
        default_value = "127.0.0.1",
        requires = "cookie_jar"
    )]
    cookie_host: String,
}

fn kind() -> impl TypedValueParser<Value = Kind> {
    PossibleValuesParser::new([Kind::Web, Kind::Mobile].map(Kind::as_str))
        .try_map(|word| Kind::from_word(&word).ok_or("there is no such kind"))
}

pub(super) struct Open {
    request: OpenRequest,
    cookie_jar: Option<PathBuf>,
    cookie_host: String,
}

impl Open {
    pub(super) fn new(arguments: Arguments) -> Self {
        let Arguments {
            user,
            ip,
            user_agent,
            kind,
            idle_timeout,
            cookie_jar,
            cookie_host,
        } = arguments;
        let milliseconds =
            |timeout: Duration| u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        Self {
            request: OpenRequest {
                user,
                ip,
                user_agent,
                kind,
                idle_timeout: idle_timeout.map(milliseconds),
                actor: None,
            },
            cookie_jar,
            cookie_host,
        }
    }
}

impl Operation for Open {
    const ACCESS: Access = Access::Create;

    fn check(&mut self) -> Result<()> {
        self.request
            .validate()
            .map_err(|text| Failure::new(Exit::Usage, text))?;
        let is_host =
            |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
        if self.cookie_host.is_empty() || !self.cookie_host.chars().all(is_host) {
            return Err(
                Failure::new(Exit::Usage, "--cookie-host takes a host name or an address").into(),
            );
        }
        Ok(())
    }

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        // Made before the session: a jar that cannot be written must not leave a session behind that nobody can use.
        let jar = self
            .cookie_jar
            .as_deref()
            .map(CookieJar::prepare)
            .transpose()?;
        let request = OpenRequest {
            actor: Some(context.actor.clone()),
            ..self.request
        };
        let opened = admin.open(request).await?;
        if let Some(jar) = jar {
            jar.fill(&self.cookie_host, &opened)?;
        }
        let session = opened.session;
        match output.format {
            Format::Table | Format::Uuid => output.line(&session.id.to_string())?,
            Format::Json | Format::Jsonl => output.json(&SessionBody::from(session))?,
            Format::Csv => {
                output.line(Session::CSV_HEADER)?;
                output.line(&session.csv())?;
            }
        }
        Ok(Exit::Done)
    }
}

/// A file beside the jar that only its owner can read; it takes the jar's name when it is whole.
struct CookieJar {
    file: NamedTempFile,
    path: PathBuf,
}

/// The first line of a cookie jar, as curl writes it.
const JAR_HEADER: &str = "# Netscape HTTP Cookie File";

impl CookieJar {
    fn prepare(path: &Path) -> Result<Self> {
        let shown = path.display();
        let refused =
            |text: String| Failure::new(Exit::Usage, text).advise("--cookie-jar with another name");
        let path = match path.metadata() {
            Ok(metadata) if metadata.is_file() => {
                if !is_jar(&read_jar(path)?) {
                    return Err(refused(format!("{shown} is there and not a cookie jar")).into());
                }
                // Under the name that a link leads to: what is replaced is the file, not the link.
                path.canonicalize().unwrap_or(path.into())
            }
            Ok(_) => {
                return Err(refused(format!(
                    "{shown} is not a file; a cookie jar would take its place"
                ))
                .into());
            }
            Err(_) => path.into(),
        };
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        let file = NamedTempFile::new_in(directory.unwrap_or(Path::new(".")));
        let file = file.with_context(|| format!("cannot write the cookie jar {shown}"))?;
        Ok(Self { file, path })
    }

    /// Puts the session's cookie in the place of an older one; other cookies stay.
    fn fill(mut self, host: &str, opened: &Opened) -> Result<()> {
        let name = &opened.cookie_name;
        let is_secure = name.starts_with("__");
        let secure = if is_secure { "TRUE" } else { "FALSE" };
        // Kept until the client ends: requests extend the session, and only the server knows for how long.
        let expires = 0;
        let token = opened.token.expose();
        let domain = format!("#HttpOnly_{host}");
        let is_other = |line: &&str| {
            !(line.starts_with(&format!("{domain}\t")) && line.contains(&format!("\t{name}\t")))
        };
        let kept = if self.path.exists() {
            read_jar(&self.path)?
        } else {
            String::new()
        };
        let others = kept
            .lines()
            .skip(1)
            .filter(is_other)
            .map(|line| format!("{line}\n"));
        let cookie = format!("{domain}\tFALSE\t/\t{secure}\t{expires}\t{name}\t{token}\n");
        let text = format!("{JAR_HEADER}\n{}{cookie}", others.collect::<String>());
        let failed = || format!("cannot write the cookie jar {}", self.path.display());
        self.file.write_all(text.as_bytes()).with_context(failed)?;
        self.file.persist(&self.path).with_context(failed)?;
        Ok(())
    }
}

fn read_jar(path: &Path) -> Result<String> {
    fs::read_to_string(path)
        .with_context(|| format!("cannot read the cookie jar {}", path.display()))
}

fn is_jar(text: &str) -> bool {
    text.is_empty() || text.starts_with(JAR_HEADER)
}
