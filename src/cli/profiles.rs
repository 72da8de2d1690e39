//! The client's own file: servers that an operator gave a name, each with its own token and its own authority.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde::Deserialize;

use super::Environment;
use super::exit::{Exit, Failure};
use super::guarded::{self, Guard, toml_mistake};
use crate::token::looks_like_secret;

/// A server with a name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// Its admin address.
    pub(super) server: String,
    /// The file of those who are trusted to have issued its certificate.
    pub(super) cacert: Option<PathBuf>,
    /// The file of its token.
    pub(super) token_file: Option<PathBuf>,
}

/// The file as it is written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClientFile {
    #[serde(default)]
    profiles: BTreeMap<String, Profile>,
}

impl Profile {
    /// The profile of this name. Its files are found from where the file is that names them.
    pub(super) fn named(name: &str, environment: &Environment) -> Result<Self> {
        let path = file(environment)?;
        let shown = path.display();
        let usage = |text: String| Failure::new(Exit::Usage, text);
        if looks_like_secret(name) {
            let text = "what --profile names is a cookie value or token; it is a secret, so it is not repeated";
            return Err(usage(text.into()).advise("--profile NAME").into());
        }
        if matches!(path.try_exists(), Ok(false)) {
            let text = format!("there is no profile {name:?}: there is no file {shown}");
            return Err(usage(text).advise(form(name)).into());
        }
        let mut profiles = read(&path)?.profiles;
        let Some(mut profile) = profiles.remove(name) else {
            let names: Vec<&str> = profiles.keys().map(String::as_str).collect();
            let there = match &names[..] {
                [] => "it has none".into(),
                names => format!("there is {}", names.join(", ")),
            };
            let text = format!("{shown} has no profile {name:?}; {there}");
            return Err(usage(text).advise(form(name)).into());
        };
        let directory = path.parent().unwrap_or(Path::new(""));
        let named = [&mut profile.cacert, &mut profile.token_file];
        for file in named.into_iter().flatten() {
            *file = directory.join(&*file);
        }
        Ok(profile)
    }
}

fn form(name: &str) -> String {
    format!("[profiles.{name}] with server = \"https://HOST:PORT\" there, or --server ADDRESS")
}

/// Where the file is; never in the current directory, which may be somebody else's.
fn file(environment: &Environment) -> Result<PathBuf> {
    let whole = |name| environment.path(name).filter(|path| path.is_absolute());
    let directory =
        whole("XDG_CONFIG_HOME").or_else(|| whole("HOME").map(|home| home.join(".config")));
    let missing = || {
        let text =
            "there is no file with profiles: neither XDG_CONFIG_HOME nor HOME is an absolute path";
        Failure::new(Exit::Usage, text).advise("--server ADDRESS")
    };
    let directory = directory.ok_or_else(missing)?;
    Ok(directory.join("sessionctl/config.toml"))
}

/// Reads the file, if nobody else can have written it (S46): who writes it says where tokens go.
fn read(path: &Path) -> Result<ClientFile> {
    let text = guarded::read_text(path, Guard::NobodyElseWrites, "you").map_err(guarded::denied)?;
    toml::from_str(&text)
        .map_err(|error| anyhow::anyhow!(toml_mistake(&text, &error)))
        .with_context(|| format!("{} is not a file of profiles", path.display()))
        .map_err(|error| {
            Failure::new(Exit::Usage, format!("{error:#}"))
                .advise("[profiles.NAME] with server, cacert, token_file, each a text in quotes")
                .into()
        })
}
