//! `sessionctl options`: what is set, by whom, and setting it (C14).

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Args, Subcommand};
use serde::Serialize;

use super::exit::{Exit, Failure};
use super::output::{Format, Output};
use super::table::columns;
use super::target::{Access, Context, Operation};
use super::text::{csv_cell, visible};
use crate::admin::{Admin, OptionsSet, SetRequest};
use crate::error::{Error, would_end};
use crate::options::{FIXED_OPTIONS, OPTIONS, OptionSpec, OptionState, Origin, Value};
use crate::wire::{OptionsSetBody, SCHEMA};

#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List every option: value, default, range, when it acts, 4D's name
    List(ListArguments),
    /// Print the value of one option
    Get(GetArguments),
    /// Set an option at run time: it acts at once, is kept over restarts, and wins over the file and the flags
    Set(SetArguments),
    /// Take back what was set at run time: the flag, the file or the default counts again
    Reset(ResetArguments),
}

#[derive(Debug, Args)]
struct ListArguments {
    /// Tell where each value comes from: default, file, flag or run_time
    #[arg(long)]
    origin: bool,
}

#[derive(Debug, Args)]
struct GetArguments {
    /// The option
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,
    /// Tell where the value comes from, and what lies beneath it
    #[arg(long)]
    origin: bool,
}

#[derive(Debug, Args)]
struct SetArguments {
    /// The option
    #[arg(value_name = "NAME", value_parser = names())]
    name: String,
    /// Its new value, such as 200, 8h, on, lax
    #[arg(value_name = "VALUE", allow_hyphen_values = true)]
    value: String,
    #[command(flatten)]
    changing: Changing,
}

#[derive(Debug, Args)]
struct ResetArguments {
    /// The options
    #[arg(value_name = "NAME", value_parser = names(), required_unless_present = "all")]
    names: Vec<String>,
    /// Reset every option that was set at run time
    #[arg(long, conflicts_with = "names")]
    all: bool,
    #[command(flatten)]
    changing: Changing,
}

#[derive(Debug, Args)]
struct Changing {
    /// Go ahead even if sessions end by it
    #[arg(long)]
    yes: bool,
    /// Only tell how many sessions would end
    #[arg(long)]
    dry_run: bool,
}

/// The names that can be set, for completion and for guesses; what is fixed at the start is told apart later.
fn names() -> PossibleValuesParser {
    let settable = OPTIONS.iter().map(|spec| PossibleValue::new(spec.name));
    let fixed = FIXED_OPTIONS
        .iter()
        .map(|(name, _)| PossibleValue::new(*name).hide(true));
    PossibleValuesParser::new(settable.chain(fixed).collect::<Vec<_>>())
}

fn by_flag(flag: &str) -> String {
    format!("change the file or the flag, then restart: sessionctl serve --{flag} VALUE")
}

/// The option of a name that clap let through.
fn spec(name: &str) -> Result<&'static OptionSpec> {
    OptionSpec::named(name).ok_or_else(|| {
        let text = format!("{name} comes from the configuration file and the flags of serve only");
        let advice = match name {
            "group_roles" => "change the table [group_roles] of the file, then restart".into(),
            // One of them at a time.
            "on_close_arguments" => by_flag("on-close-argument"),
            name => by_flag(&name.replace('_', "-")),
        };
        Failure::new(Exit::Usage, text).advise(advice).into()
    })
}

pub(super) enum Look {
    List {
        origin: bool,
    },
    Get {
        spec: &'static OptionSpec,
        origin: bool,
    },
}

pub(super) struct Change {
    /// Empty for all that were set at run time.
    changes: Vec<(&'static OptionSpec, Option<Value>)>,
    may_end: bool,
    dry_run: bool,
}

/// The command, checked: one that looks, or one that changes.
pub(super) enum Asked {
    Look(Look),
    Change(Change),
}

impl Arguments {
    /// Checks names and values before anything is read or sent.
    pub(super) fn asked(self) -> Result<Asked> {
        let change = |changes, changing: &Changing| {
            Asked::Change(Change {
                changes,
                may_end: changing.yes,
                dry_run: changing.dry_run,
            })
        };
        Ok(match self.command {
            Command::List(ListArguments { origin }) => Asked::Look(Look::List { origin }),
            Command::Get(GetArguments { name, origin }) => Asked::Look(Look::Get {
                spec: spec(&name)?,
                origin,
            }),
            Command::Set(SetArguments {
                name,
                value,
                changing,
            }) => {
                let spec = spec(&name)?;
                let value = spec.parse(&value).map_err(|error| {
                    Failure::new(Exit::Usage, error.to_string()).advise_command("options list")
                })?;
                change(
                    vec![(spec, Some(value.unwrap_or_else(|| spec.default())))],
                    &changing,
                )
            }
            Command::Reset(ResetArguments {
                names, changing, ..
            }) => {
                let changes = names
                    .iter()
                    .map(|name| Ok((spec(name)?, None)))
                    .collect::<Result<_>>()?;
                change(changes, &changing)
            }
        })
    }
}

impl Operation for Look {
    const ACCESS: Access = Access::Look;

    async fn run<A: Admin>(self, admin: &A, output: &mut Output, _: &Context) -> Result<Exit> {
        let states = admin.options().await?;
        match self {
            Self::Get { spec, origin } => {
                let state = states.into_iter().find(|state| state.name == spec.name);
                let state = state.ok_or_else(|| {
                    Failure::new(
                        Exit::Failure,
                        format!("the server does not know {}", spec.name),
                    )
                })?;
                get(&OptionRow { spec, state }, origin, output)?;
            }
            Self::List { origin } => {
                let known = states.into_iter().filter_map(|state| {
                    Some(OptionRow {
                        spec: OptionSpec::named(&state.name)?,
                        state,
                    })
                });
                list(&known.collect::<Vec<_>>(), origin, output)?;
            }
        }
        Ok(Exit::Done)
    }
}

/// An option with what is known of it.
struct OptionRow {
    spec: &'static OptionSpec,
    state: OptionState,
}

/// A row as JSON: the state, and what the table says.
#[derive(Serialize)]
struct JsonRow<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    schema: Option<u32>,
    #[serde(flatten)]
    state: &'a OptionState,
    range: String,
    acts: &'static str,
    summary: &'static str,
    name_in_4d: Option<&'static str>,
}

impl OptionRow {
    fn show(&self, value: &Value) -> String {
        let shown = self.spec.show(value);
        if shown.is_empty() {
            "\"\"".into()
        } else {
            visible(&shown).into_owned()
        }
    }

    fn json(&self, schema: Option<u32>) -> JsonRow<'_> {
        let OptionSpec {
            form,
            acts,
            summary,
            name_in_4d,
            ..
        } = self.spec;
        JsonRow {
            schema,
            state: &self.state,
            range: form.range(),
            acts,
            summary,
            name_in_4d: *name_in_4d,
        }
    }
}

const COLUMNS: [&str; 6] = ["NAME", "VALUE", "DEFAULT", "RANGE", "ACTS", "IN 4D"];

fn list(rows: &[OptionRow], with_origin: bool, output: &mut Output) -> Result<()> {
    match output.format {
        Format::Json => {
            let items: Vec<_> = rows.iter().map(|row| row.json(None)).collect();
            output.json(&serde_json::json!({"schema": SCHEMA, "items": items}))?;
        }
        Format::Jsonl => {
            for row in rows {
                output.json(&row.json(Some(SCHEMA)))?;
            }
        }
        Format::Csv => {
            output.line("name,value,origin,default,range,acts,in_4d")?;
            for row in rows {
                output.line(&cells(row, true).map(|cell| csv_cell(&cell)).join(","))?;
            }
        }
        Format::Table | Format::Uuid => {
            let header = || {
                let mut header = COLUMNS.map(str::to_owned).to_vec();
                header.insert(2, "ORIGIN".into());
                header
            };
            let table =
                std::iter::once(header()).chain(rows.iter().map(|row| cells(row, false).to_vec()));
            let table = table.map(|mut row| {
                if !with_origin {
                    row.remove(2);
                }
                row
            });
            output.raw(&columns(table.collect(), output.terminal_width))?;
        }
    }
    Ok(())
}

fn cells(row: &OptionRow, is_csv: bool) -> [String; 7] {
    let OptionSpec {
        name,
        form,
        acts,
        name_in_4d,
        ..
    } = row.spec;
    let absent = if is_csv { "" } else { "-" };
    let show = |value| {
        if is_csv {
            row.spec.show(value)
        } else {
            row.show(value)
        }
    };
    [
        (*name).into(),
        show(&row.state.value),
        row.state.origin.to_string(),
        show(&row.state.default),
        form.range(),
        (*acts).into(),
        name_in_4d.unwrap_or(absent).into(),
    ]
}

fn get(row: &OptionRow, with_origin: bool, output: &mut Output) -> Result<()> {
    match output.format {
        Format::Json | Format::Jsonl => output.json(&row.json(Some(SCHEMA)))?,
        _ if !with_origin => output.line(&visible(&row.spec.show(&row.state.value)))?,
        _ => {
            let OptionState {
                value,
                origin,
                beneath,
                beneath_origin,
                ..
            } = &row.state;
            let beneath = match origin {
                Origin::RunTime => format!(" ({beneath_origin}: {})", row.show(beneath)),
                Origin::Default | Origin::File | Origin::Flag => String::new(),
            };
            output.line(&format!("{}  {origin}{beneath}", row.show(value)))?;
        }
    }
    Ok(())
}

impl Operation for Change {
    const ACCESS: Access = Access::Change;

    async fn run<A: Admin>(
        mut self,
        admin: &A,
        output: &mut Output,
        context: &Context,
    ) -> Result<Exit> {
        let before = admin.options().await?;
        if self.changes.is_empty() {
            let set = before
                .iter()
                .filter(|state| state.origin == Origin::RunTime);
            self.changes = set
                .filter_map(|state| Some((OptionSpec::named(&state.name)?, None)))
                .collect();
        }
        let changes = self
            .changes
            .iter()
            .map(|(spec, value)| (spec.name.to_owned(), value.clone()));
        let request = SetRequest {
            changes: changes.collect(),
            may_end: self.may_end,
            dry_run: self.dry_run,
            actor: context.actor.clone(),
        };
        let set = match admin.set_options(request).await {
            Ok(set) => set,
            Err(error @ Error::WouldEnd { .. }) => {
                let failure = Failure::new(Exit::Usage, format!("{error}; nothing was changed"));
                return Err(failure.advise("the same command with --yes").into());
            }
            Err(error @ (Error::OutcomeUnknown { .. } | Error::Unconfirmed(_))) => {
                let failure =
                    Failure::new(Exit::Unknown, "whether the options were set is unknown");
                let failure = failure.advise_look(&error, "options list --origin");
                return Err(failure.caused_by(error).into());
            }
            Err(error) => return Err(error.into()),
        };
        self.tell(&set, &before, output)?;
        Ok(Exit::Done)
    }
}

impl Change {
    fn tell(&self, set: &OptionsSet, before: &[OptionState], output: &mut Output) -> Result<()> {
        if matches!(output.format, Format::Json | Format::Jsonl) {
            return Ok(output.json(&OptionsSetBody {
                schema: SCHEMA,
                set: set.clone(),
            })?);
        }
        if output.quiet {
            return Ok(());
        }
        let (ends, strands) = (set.ends, set.strands);
        if set.options.is_empty() {
            output.line("nothing was set at run time")?;
            return Ok(());
        }
        if !set.is_set {
            let impact = if ends + strands == 0 {
                "no session would end".into()
            } else {
                would_end(ends, strands)
            };
            output.line(&format!("{impact}; nothing was changed"))?;
            return Ok(());
        }
        for state in &set.options {
            let Some(spec) = OptionSpec::named(&state.name) else {
                continue;
            };
            let row = OptionRow {
                spec,
                state: state.clone(),
            };
            let old = before.iter().find(|old| old.name == state.name);
            let old = old.map_or_else(String::new, |old| {
                format!(" (was {})", row.show(&old.value))
            });
            output.line(&format!("{} {}{old}", state.name, row.show(&state.value)))?;
        }
        if ends > 0 {
            output.line(&format!("ended {ends}"))?;
        }
        if strands > 0 {
            output.line(&format!("not recognised any more {strands}"))?;
        }
        Ok(())
    }
}
