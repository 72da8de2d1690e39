//! `sessionctl stats`.

use anyhow::Result;
use clap::Args;

use super::exit::Exit;
use super::output::{Format, Output};
use super::table::details;
use super::target::{Access, Context, Operation};
use crate::admin::{Admin, Ended, Refused, Stats as Counts};
use crate::wire::{SCHEMA, StatsBody};

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) struct Stats(pub(super) Arguments);

impl Operation for Stats {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let stats = admin.stats().await?;
        match output.format {
            Format::Json | Format::Jsonl => output.json(&StatsBody {
                schema: SCHEMA,
                stats,
            })?,
            Format::Csv => {
                let pairs = pairs(&stats);
                let names: Vec<_> = pairs
                    .iter()
                    .map(|(name, _)| name.replace(' ', "_"))
                    .collect();
                let values: Vec<_> = pairs.into_iter().map(|(_, value)| value).collect();
                output.line(&names.join(","))?;
                output.line(&values.join(","))?;
            }
            Format::Table | Format::Uuid => output.raw(&details(&pairs(&stats)))?,
        }
        Ok(Exit::Done)
    }
}

fn pairs(stats: &Counts) -> Vec<(&'static str, String)> {
    let Ended {
        command,
        logout,
        inactive,
        evicted,
        dropped,
        restored,
    } = stats.ended;
    let Refused {
        full,
        rate,
        address,
    } = stats.refused;
    let counts = [
        ("active", stats.active),
        ("suspended", stats.suspended),
        ("closing", stats.closing),
        ("late methods", stats.late),
        ("counted", stats.counted),
        ("max sessions", stats.max_sessions),
        ("opened", stats.opened),
        ("processes ended", stats.processes_ended),
        ("ended command", command),
        ("ended logout", logout),
        ("ended inactive", inactive),
        ("ended evicted", evicted),
        ("ended dropped", dropped),
        ("ended restored", restored),
        ("refused full", full),
        ("refused rate", rate),
        ("refused address", address),
    ];
    let mut pairs = vec![("mode", stats.mode.to_string())];
    pairs.extend(counts.map(|(name, count)| (name, count.to_string())));
    pairs.insert(7, ("since", stats.since.to_string()));
    pairs
}
