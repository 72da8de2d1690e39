//! Options at run time (C14), and the cookie that follows from them.

use std::sync::{Arc, PoisonError};

use super::{Registry, tell_failure_of_store};
use crate::admin::{Actor, OptionsSet, SetRequest};
use crate::cookie::CookiePolicy;
use crate::error::Error;
use crate::options::{FIXED_OPTIONS, OPTIONS, OptionSpec, Value};
use crate::session::SessionId;
use crate::store::{Applied, Change, Impact, SetOptions, Store};

impl<S: Store> Registry<S> {
    /// The cookie by the settings in force.
    pub(super) fn cookie_policy(&self) -> Result<Arc<CookiePolicy>, Error> {
        let settings = self.inner.store.settings()?;
        let mut made = self
            .inner
            .cookie
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((of, cookie)) = made.as_ref()
            && Arc::ptr_eq(of, &settings)
        {
            return Ok(Arc::clone(cookie));
        }
        let cookie = Arc::new(CookiePolicy::of(settings.options()));
        *made = Some((settings, Arc::clone(&cookie)));
        Ok(cookie)
    }

    pub(super) async fn set(&self, request: SetRequest) -> Result<OptionsSet, Error> {
        let SetRequest {
            changes,
            may_end,
            dry_run,
            actor,
        } = request;
        let changes = changes
            .into_iter()
            .map(known)
            .collect::<Result<Vec<_>, _>>()?;
        let set = SetOptions {
            changes: changes.clone(),
            may_end,
            dry_run,
            actor: Actor::server(),
            ordered_by: actor.clone(),
        };
        let applied = self
            .inner
            .store
            .apply(Change::SetOptions(set), self.now())
            .await?;
        let (is_set, Impact { ends, strands }, evicted) = match applied {
            Applied::OptionsSet {
                is_set,
                impact,
                evicted,
            } => (is_set, impact, evicted),
            Applied::OptionRefused(error) => return Err(Error::Invalid(error.to_string())),
            applied => {
                return Err(Error::Internal(
                    format!("options came to {applied:?}").into(),
                ));
            }
        };
        if !is_set && !dry_run {
            return Err(Error::WouldEnd { ends, strands });
        }
        if is_set {
            self.acted(&changes, &evicted, &actor);
            // What is due by the new options ends now, not at the next sweep.
            if ends > 0
                && let Err(error) = self.sweep().await
            {
                // The options are in force for all that: nobody is to be told that nothing was changed.
                let what = "sessions that are due by the new options are not closed yet";
                tell_failure_of_store(&error, what);
            }
        }
        let settings = self.inner.store.settings()?;
        let options = changes
            .iter()
            .map(|(spec, _)| settings.state(spec))
            .collect();
        Ok(OptionsSet {
            is_set,
            ends,
            strands,
            options,
        })
    }

    /// Tells of options that are in force now, and sees to those who were evicted for them.
    fn acted(
        &self,
        changes: &[(&'static OptionSpec, Option<Value>)],
        evicted: &[SessionId],
        actor: &Actor,
    ) {
        for (spec, value) in changes {
            let value = value
                .as_ref()
                .map_or_else(|| "reset".into(), |value| spec.show(value));
            tracing::info!(%actor, option = spec.name, value, "option set");
        }
        self.evicted(evicted, "the limit was lowered");
        self.began_aside(evicted);
    }
}

/// A change by the option's name, its value checked. What is fixed at the start is told apart from what is not known (S50).
fn known(
    (name, value): (String, Option<Value>),
) -> Result<(&'static OptionSpec, Option<Value>), Error> {
    let Some(spec) = OptionSpec::named(&name) else {
        let is_fixed = FIXED_OPTIONS.iter().any(|(fixed, _)| *fixed == name);
        return Err(Error::Invalid(if is_fixed {
            format!("{name} comes from the configuration file and the flags of serve only")
        } else {
            let names: Vec<_> = OPTIONS.iter().map(|spec| spec.name).collect();
            format!(
                "there is no option of this name; there are {}",
                names.join(", ")
            )
        }));
    };
    let value = match value {
        // 0 and the empty name are 4D's way to set the default (C14).
        Some(value) => {
            let checked = spec
                .check(value)
                .map_err(|error| Error::Invalid(error.to_string()))?;
            Some(checked.unwrap_or_else(|| spec.default()))
        }
        None => None,
    };
    Ok((spec, value))
}
