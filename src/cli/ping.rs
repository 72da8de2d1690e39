//! `sessionctl ping`.

use anyhow::Result;
use clap::Args;
use serde_json::json;
use tokio::time::Instant;

use super::exit::{Exit, Failure};
use super::output::{Format, Output};
use super::target::{Access, Context, Operation};
use crate::admin::{Admin, ListQuery};
use crate::error::Error;
use crate::wire::SCHEMA;

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) struct Ping(pub(super) Arguments);

impl Operation for Ping {
    const ACCESS: Access = Access::ServerOnly;

    async fn run<A: Admin>(
        self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let started = Instant::now();
        let answer = admin.ready().await;
        let latency = started.elapsed();
        // Ready is what any server may call itself; only a session server's admin API has a list.
        let answer = match answer {
            Ok(()) => admin
                .list(ListQuery {
                    limit: Some(0),
                    ..ListQuery::default()
                })
                .await
                .map(drop),
            error => error,
        };
        match answer {
            Ok(()) => {}
            Err(error @ (Error::Unavailable(_) | Error::Busy { .. })) => {
                let text = "the server answers, but it acknowledges nothing";
                let failure = Failure::new(Exit::CheckFailed, text).caused_by(error);
                return Err(failure
                    .advise("look into its log for the disk error, mend it, restart the server")
                    .into());
            }
            Err(error) => return Err(error.into()),
        }
        match output.format {
            _ if output.quiet => {}
            Format::Json | Format::Jsonl => {
                let latency_ms = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
                output.json(&json!({"schema": SCHEMA, "ready": true, "latency_ms": latency_ms}))?;
            }
            Format::Table | Format::Csv | Format::Uuid => {
                let milliseconds = latency.as_secs_f64() * 1000.0;
                output.line(&format!("ready {} {milliseconds:.1} ms", context.name))?;
            }
        }
        Ok(Exit::Done)
    }
}
