//! `sessionctl count`.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::exit::Exit;
use super::output::{Format, Output};
use super::target::{Access, Context, Operation};
use crate::admin::{Admin, ListQuery};
use crate::wire::SCHEMA;

#[derive(Debug, Args)]
pub(super) struct Arguments {}

pub(super) struct Count(pub(super) Arguments);

impl Operation for Count {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let none = ListQuery {
            limit: Some(0),
            ..ListQuery::default()
        };
        let count = admin.list(none).await?.total;
        match output.format {
            Format::Json | Format::Jsonl => {
                output.json(&json!({"schema": SCHEMA, "count": count}))?
            }
            Format::Table | Format::Csv | Format::Uuid => output.line(&count.to_string())?,
        }
        Ok(Exit::Done)
    }
}
