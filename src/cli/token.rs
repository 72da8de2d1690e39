//! `sessionctl token`: makes, lists and revokes the tokens of the admin API (S31).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Asker;
use super::exit::{Exit, Failure, exit_of};
use super::output::{Format, Output};
use super::rows::{Row, Rows};
use super::signals::Signals;
use super::table::{Layout, Times};
use super::target::{Access, Calls, Context, Operation};
use super::text::csv_cell;
use super::token_file::NewTokenFile;
use crate::access::{AdminToken, MintedToken, Role, TokenName, TokenRequest};
use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::SessionId;
use crate::wire::MintedBody;

/// What `--help` begins with.
pub(super) const EXAMPLES: &str = "\
Examples:
  sessionctl token create --name ci --role closer --out ci.token     for 90 days, into a file of your own
  sessionctl token list                                              who may come in, for what, until when
  sessionctl token revoke ci                                         from now on it may not";

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a token; it is shown this once
    Create(CreateArguments),
    /// List the tokens, without their secrets
    List,
    /// Revoke tokens by name: they are refused from now on, and requests that wait with them end
    Revoke(RevokeArguments),
}

#[derive(Debug, Args)]
struct CreateArguments {
    /// What it is called: it stands in the log and in the audit record
    #[arg(long, value_name = "NAME")]
    name: TokenName,
    /// What it is good for: viewer looks; closer looks and ends sessions; admin may everything; app is for the application whose sessions they are
    #[arg(long, value_name = "ROLE", value_parser = role)]
    role: Role,
    /// For how long it is good, such as 12h or 90d; never for a token without an end
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = lifetime)]
    expires: Lifetime,
    /// Write it into this new file, for its owner alone, and not to stdout
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct RevokeArguments {
    /// Which
    #[arg(required = true, value_name = "NAME")]
    names: Vec<TokenName>,
}

#[derive(Clone, Copy, Debug)]
struct Lifetime(Option<Duration>);

fn lifetime(text: &str) -> Result<Lifetime, String> {
    if text == "never" {
        return Ok(Lifetime(None));
    }
    let lifetime = humantime::parse_duration(text);
    lifetime
        .map(|lifetime| Lifetime(Some(lifetime)))
        .map_err(|_| "a time such as 12h or 90d, or never".into())
}

fn role(text: &str) -> Result<Role, String> {
    let names = || Role::ALL.map(Role::as_str).join(", ");
    Role::from_word(text).ok_or_else(|| format!("there are the roles {}", names()))
}

pub(super) fn run(arguments: Arguments, asker: Asker<'_>) -> Result<Exit> {
    match arguments.command {
        Command::Create(arguments) => asker.ask(Create(arguments)),
        Command::List => asker.ask(List),
        Command::Revoke(arguments) => asker.ask(Revoke(arguments)),
    }
}

struct Create(CreateArguments);

impl Operation for Create {
    const ACCESS: Access = Access::Create;

    fn calls(&self) -> Calls<'_> {
        Calls::Nothing
    }

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let CreateArguments {
            name,
            role,
            expires: Lifetime(lifetime),
            out,
        } = self.0;
        // Whoever is told to stop in between has made a token that nobody has: it is carried to its end, at most for the time
        // that an answer may take.
        let mut signals = Signals::catch()?;
        // A token that cannot be kept is not made.
        let file = out.as_deref().map(NewTokenFile::create).transpose()?;
        let request = TokenRequest {
            name: name.clone(),
            role,
            lifetime,
            actor: context.actor.clone(),
        };
        let minted = match admin.create_token(request).await {
            Ok(minted) => minted,
            Err(error) => {
                if let Some(file) = file {
                    file.remove();
                }
                return Err(advised(error, &name));
            }
        };
        let written = match file {
            Some(file) => file.write(&minted.secret),
            None => Ok(()),
        };
        if let Err(error) = written {
            let text = format!("the token {name} was made, and its file could not be written");
            return Err(Failure::new(Exit::Failure, text)
                .caused_by(error)
                .advise_command(format!("token revoke {name}"))
                .into());
        }
        tell(output, minted, out, context.now)?;
        let stopped = tokio::select! {
            biased;
            exit = signals.next() => exit,
            () = std::future::ready(()) => Exit::Done,
        };
        Ok(stopped)
    }
}

fn advised(error: Error, name: &TokenName) -> anyhow::Error {
    if !matches!(error, Error::OutcomeUnknown { .. } | Error::Unconfirmed(_)) {
        return error.into();
    }
    let text = format!("whether the token {name} was made is unknown, and its secret is lost");
    let look = format!("token revoke {name}");
    Failure::new(Exit::Unknown, text)
        .advise_look(&error, look)
        .caused_by(error)
        .into()
}

fn tell(
    output: &mut Output,
    minted: MintedToken,
    out: Option<PathBuf>,
    now: Timestamp,
) -> Result<()> {
    let AdminToken {
        name,
        role,
        expires_at,
        ..
    } = minted.token.clone();
    let is_json = matches!(output.format, Format::Json | Format::Jsonl);
    match &out {
        Some(_) => {
            if is_json {
                output.json(&serde_json::json!({
                    "schema": crate::wire::SCHEMA,
                    "token": minted.token,
                }))?;
            }
            output.flush()?;
        }
        None => {
            let shown = match is_json {
                true => output.json(&MintedBody::from(minted)),
                false => output.line(minted.secret.expose()),
            };
            // Whoever closed stdout has all that they want of a list, but not of this.
            shown
                .and_then(|()| output.flush())
                .map_err(|error| lost(&name, error))?;
        }
    }
    if output.quiet {
        return Ok(());
    }
    let until = match expires_at {
        Some(end) => format!("until {end} ({})", Times::Relative.short(end, now)),
        None => "without an end".into(),
    };
    let place = match out {
        Some(file) => format!("it is in {}", file.display()),
        None => "it is shown this once".into(),
    };
    output.tell(&format!("token {name} ({role}) is good {until}; {place}"));
    Ok(())
}

/// A secret that is shown once, and that nobody saw.
fn lost(name: &TokenName, error: io::Error) -> Failure {
    let text = format!(
        "the token {name} was made, and its secret is lost: it could not be written to stdout"
    );
    Failure::new(Exit::Failure, text)
        .caused_by(error)
        .advise_command(format!("token revoke {name}"))
}

struct List;

impl Operation for List {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let tokens = admin.tokens().await?;
        match output.format {
            Format::Uuid => {
                let text = "a token has no UUID";
                return Err(Failure::new(Exit::Usage, text)
                    .advise_command("token list -q for their names")
                    .into());
            }
            Format::Table if output.quiet => {
                for token in &tokens {
                    output.line(token.name.as_str())?;
                }
                return Ok(Exit::Done);
            }
            _ => {}
        }
        let is_empty = tokens.is_empty();
        let mut rows = Rows::<AdminToken>::new(output, context.now);
        rows.begin(output)?;
        rows.write(output, &tokens)?;
        rows.end(output, "\"truncated\":false")?;
        if is_empty && output.format == Format::Table && !output.quiet {
            output.tell("there are no tokens but those that serve was given as files");
        }
        Ok(Exit::Done)
    }
}

struct Revoke(RevokeArguments);

impl Operation for Revoke {
    const ACCESS: Access = Access::Change;

    fn calls(&self) -> Calls<'_> {
        Calls::Nothing
    }

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let mut exits = Vec::new();
        let mut told = Ok(());
        for name in self.0.names {
            let asked = admin.revoke_token(name.clone(), context.actor.clone());
            match asked.await {
                Ok(()) => {
                    exits.push(Exit::Done);
                    // Others are still to be revoked, whether or not anybody reads of it.
                    told = told.and_then(|()| tell_revoked(output, &name));
                }
                Err(error) => {
                    let error = not_revoked(error, &name);
                    output.tell_error(&error);
                    exits.push(exit_of(&error));
                }
            }
        }
        match Exit::together(&exits) {
            Exit::Done => Ok(told.map(|()| Exit::Done)?),
            together => Ok(together),
        }
    }
}

fn tell_revoked(output: &mut Output, name: &TokenName) -> io::Result<()> {
    match output.format {
        Format::Json | Format::Jsonl => {
            output.json(&serde_json::json!({"name": name, "outcome": "revoked"}))
        }
        _ if output.quiet => Ok(()),
        _ => output.line(&format!("revoked {name}")),
    }
}

fn not_revoked(error: Error, name: &TokenName) -> anyhow::Error {
    if !matches!(error, Error::OutcomeUnknown { .. } | Error::Unconfirmed(_)) {
        return anyhow::Error::from(error).context(format!("{name} is not revoked"));
    }
    let text = format!("whether {name} is revoked is unknown");
    Failure::new(Exit::Unknown, text)
        .advise_look(&error, "token list")
        .caused_by(error)
        .into()
}

impl Row for AdminToken {
    const LAYOUT: &'static Layout = &Layout {
        names: &["NAME", "ROLE", "EXPIRES", "CREATED", "BY"],
        give_way: &[("BY", 12), ("NAME", 12), ("BY", 8)],
    };

    const CSV_HEADER: &'static str = "name,role,created_at,created_by,expires_at";

    const MAY_REPEAT_SESSIONS: bool = true;

    fn cells(&self, times: Times, now: Timestamp) -> Vec<String> {
        let expires = match self.expires_at {
            None => "never".into(),
            Some(end) if now >= end => format!("{} (refused)", times.short(end, now)),
            Some(end) => times.short(end, now),
        };
        vec![
            self.name.to_string(),
            self.role.to_string(),
            expires,
            times.short(self.created_at, now),
            self.created_by.clone(),
        ]
    }

    fn csv(&self) -> String {
        [
            self.name.to_string(),
            self.role.to_string(),
            self.created_at.to_string(),
            csv_cell(&self.created_by),
            self.expires_at
                .map_or_else(String::new, |end| end.to_string()),
        ]
        .join(",")
    }

    fn session_id(&self) -> Option<SessionId> {
        None
    }
}
