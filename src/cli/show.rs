//! `sessionctl show`.

use anyhow::Result;
use clap::Args;

use super::exit::Exit;
use super::list::times;
use super::output::{Format, Output};
use super::table::{CSV_HEADER, Times, csv_row, details, looked_at, relative};
use super::target::{Access, Context, Operation};
use super::text::{duration, visible};
use crate::admin::Admin;
use crate::clock::Timestamp;
use crate::session::{Session, SessionId};
use crate::wire::SessionBody;

#[derive(Debug, Args)]
pub(super) struct Arguments {
    /// The session, in any spelling of a UUID
    #[arg(value_name = "UUID")]
    uuid: String,
}

pub(super) struct Show {
    arguments: Arguments,
    id: Option<SessionId>,
}

impl Show {
    pub(super) fn new(arguments: Arguments) -> Self {
        Self {
            arguments,
            id: None,
        }
    }
}

impl Operation for Show {
    const ACCESS: Access = Access::Look;

    fn check(&mut self) -> Result<()> {
        self.id = Some(self.arguments.uuid.parse()?);
        Ok(())
    }

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let Some(id) = self.id else {
            return Ok(Exit::Usage);
        };
        let session = admin.show(id).await?;
        match output.format {
            Format::Table => {
                let text = details(&pairs(&session, times(output)));
                output.raw(&text)?;
            }
            Format::Json | Format::Jsonl => output.json(&SessionBody::from(session))?,
            Format::Csv => {
                output.line(CSV_HEADER)?;
                output.line(&csv_row(&session))?;
            }
            Format::Uuid => output.line(&session.id.to_string())?,
        }
        Ok(Exit::Done)
    }
}

fn pairs(session: &Session, times: Times) -> Vec<(&'static str, String)> {
    let text =
        |text: Option<&str>| text.map_or_else(|| "-".into(), |text| visible(text).into_owned());
    let instant = |instant: Timestamp| match times {
        Times::Exact => instant.to_string(),
        Times::Relative => format!("{instant} ({})", relative(instant, looked_at(session))),
    };
    let expires = match session.expires_at {
        None => "60m after its last request (scalable mode)".into(),
        Some(Timestamp::EPOCH) => "its cookie is refused already".into(),
        Some(at) => instant(at),
    };
    vec![
        ("id", session.id.to_string()),
        ("user", text(session.user.as_deref())),
        ("kind", session.kind.to_string()),
        ("mode", session.mode.to_string()),
        ("state", session.state.to_string()),
        ("ip", text(session.ip.map(|ip| ip.to_string()).as_deref())),
        ("user agent", text(session.user_agent.as_deref())),
        ("created", instant(session.created_at)),
        (
            "login",
            session.login_at.map_or_else(|| "-".into(), instant),
        ),
        ("last request", instant(session.last_request_at)),
        ("expires", expires),
        (
            "idle",
            duration(std::time::Duration::from_millis(session.idle_ms)),
        ),
        ("seq", session.seq.to_string()),
    ]
}
