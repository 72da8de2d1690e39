//! Admin tokens (S31), and account of who was not let in (S32).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::{Registry, tell_failure_of_store};
use crate::access::{
    Access, AccessRefusal, AdminToken, Grant, MintedToken, TOKEN_LIMIT, TokenName, TokenRequest,
};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::store::{Applied, Change, NewToken, Store};
use crate::token::{Token, TokenHash};

/// How often it is looked whether a token still lets in whom waits with it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The time over which refusals of a source are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Tokens that are nobody's which one source may present in a minute.
const GUESSES_PER_MINUTE: u64 = 20;

/// Sources that are told apart in a minute; more are counted together.
const SOURCES: usize = 256;

/// Characters of a refused request that are kept.
const REQUEST_LIMIT: usize = 200;

/// Requests that were refused, by source.
#[derive(Default)]
pub(super) struct Refusals(Mutex<HashMap<String, Counted>>);

/// What a source was refused in its minute.
struct Counted {
    source: Actor,
    since: Timestamp,
    /// All of them; the first one is in the record already.
    refused: u64,
    guesses: u64,
}

/// What is to be done about a refusal.
struct Counting {
    /// The source to put into the record, if it is the first one of its minute.
    first: Option<Actor>,
    /// Until when its guesses are too many.
    too_many: Option<Duration>,
}

impl Refusals {
    fn count(&self, refusal: &AccessRefusal, now: Timestamp) -> Counting {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut key = refusal.source.to_string();
        let mut source = refusal.source.clone();
        if !sources.contains_key(&key) && sources.len() >= SOURCES {
            source = Actor::unknown("others");
            key = source.to_string();
        }
        let counted = sources.entry(key).or_insert_with(|| Counted {
            source: source.clone(),
            since: now,
            refused: 0,
            guesses: 0,
        });
        counted.refused += 1;
        counted.guesses += u64::from(refusal.is_guess);
        let is_too_many = refusal.is_guess && counted.guesses > GUESSES_PER_MINUTE;
        Counting {
            first: (counted.refused == 1).then_some(source),
            too_many: is_too_many.then(|| counted.since.plus(MINUTE).since(now)),
        }
    }

    /// Takes out whose minute is over, or all.
    fn take(&self, now: Timestamp, all: bool) -> Vec<Counted> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |_: &String, counted: &mut Counted| all || counted.since.plus(MINUTE) <= now;
        sources
            .extract_if(is_over)
            .map(|(_, counted)| counted)
            .collect()
    }
}

impl<S: Store> Registry<S> {
    pub(super) async fn all_tokens(&self) -> Result<Vec<AdminToken>, Error> {
        let tokens = self.inner.store.tokens().await?;
        Ok(tokens
            .iter()
            .map(|token| AdminToken::clone(token))
            .collect())
    }

    pub(super) async fn mint_token(&self, request: TokenRequest) -> Result<MintedToken, Error> {
        request.validate().map_err(Error::Invalid)?;
        let TokenRequest {
            name,
            role,
            lifetime,
            actor,
        } = request;
        let secret = Token::mint().map_err(|error| Error::Internal(error.into()))?;
        let now = self.now();
        let token = AdminToken {
            name,
            role,
            created_at: now,
            created_by: actor.to_string(),
            expires_at: lifetime.map(|lifetime| now.plus(lifetime)),
        };
        let new = NewToken {
            hash: secret.hash(),
            token: Arc::new(token.clone()),
            ordered_by: actor.clone(),
        };
        match self
            .inner
            .store
            .apply(Change::CreateToken(new), now)
            .await?
        {
            Applied::TokenExists => Err(Error::TokenExists {
                name: token.name.into(),
            }),
            Applied::TooManyTokens => Err(Error::Invalid(format!(
                "there are {TOKEN_LIMIT} tokens, as many as there may be; revoke some"
            ))),
            _ => {
                let (name, role) = (&token.name, token.role);
                tracing::info!(%actor, %name, %role, "admin token made");
                Ok(MintedToken { token, secret })
            }
        }
    }

    pub(super) async fn revoke(&self, name: TokenName, actor: Actor) -> Result<(), Error> {
        let revoke = Change::RevokeToken {
            name: name.clone(),
            ordered_by: actor.clone(),
        };
        match self.inner.store.apply(revoke, self.now()).await? {
            Applied::NoToken => Err(Error::NoToken { name: name.into() }),
            _ => {
                tracing::info!(%actor, %name, "admin token revoked");
                Ok(())
            }
        }
    }

    /// Puts into the audit record what was refused after the first time: of whose minute is over, or of all.
    pub(super) async fn record_refusals(&self, all: bool) {
        let now = self.now();
        for counted in self.inner.refusals.take(now, all) {
            let more = counted.refused - 1;
            if more == 0 {
                continue;
            }
            let within = counted.since.plus(MINUTE).min(now).since(counted.since);
            let text = format!("{more} more within {} s", within.as_secs());
            self.record_refusal(&counted.source, text).await;
        }
    }

    async fn record_refusal(&self, source: &Actor, text: String) {
        let order = Order::by(source, Action::RefuseAccess, text, self.now());
        let recorded = self
            .inner
            .store
            .apply(Change::Record(order.into()), self.now());
        if let Err(error) = recorded.await {
            // Refused it is, recorded or not.
            tell_failure_of_store(&error, "a refusal is not in the audit record");
        }
    }
}

impl<S: Store> Access for Registry<S> {
    async fn identify(&self, token: &TokenHash) -> Result<Option<Grant>, Error> {
        let found = self.inner.store.token(token).await?;
        let now = self.now();
        Ok(found.and_then(|token| {
            if token.is_expired(now) {
                tracing::info!(name = %token.name, "an admin token was presented that has expired");
                return None;
            }
            Some(Grant {
                name: token.name.clone(),
                role: token.role,
            })
        }))
    }

    async fn until_gone(&self, token: TokenHash) {
        loop {
            tokio::time::sleep(LOOK_AGAIN).await;
            let now = self.now();
            let found = self.inner.store.token(&token).await;
            let is_good = |token: &Arc<AdminToken>| !token.is_expired(now);
            // Whoever cannot be told of is not let in either.
            if !found.ok().flatten().as_ref().is_some_and(is_good) {
                return;
            }
        }
    }

    async fn refused(&self, refusal: AccessRefusal) -> Result<(), Error> {
        let Counting { first, too_many } = self.inner.refusals.count(&refusal, self.now());
        if let Some(source) = first {
            let request = refusal.request.chars().take(REQUEST_LIMIT).collect();
            self.record_refusal(&source, request).await;
        }
        match too_many {
            Some(retry_after) => Err(Error::TooManyAttempts { retry_after }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guess(address: &str) -> AccessRefusal {
        AccessRefusal {
            source: Actor::unknown(address),
            request: "GET /v1/sessions".into(),
            is_guess: true,
        }
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn s31_a_source_may_guess_so_often_in_a_minute() {
        let refusals = Refusals::default();
        for number in 0..GUESSES_PER_MINUTE {
            let counting = refusals.count(&guess("192.0.2.1"), at(number));
            assert!(counting.too_many.is_none());
            assert_eq!(counting.first.is_some(), number == 0);
        }
        let counting = refusals.count(&guess("192.0.2.1"), at(30));
        assert_eq!(counting.too_many, Some(Duration::from_secs(30)));
        assert!(
            refusals
                .count(&guess("192.0.2.2"), at(30))
                .too_many
                .is_none()
        );
        let no_guess = AccessRefusal {
            is_guess: false,
            ..guess("192.0.2.1")
        };
        assert!(refusals.count(&no_guess, at(31)).too_many.is_none());
        let over = refusals.take(at(60), false);
        assert_eq!(
            over.iter()
                .map(|counted| counted.refused)
                .collect::<Vec<_>>(),
            [22]
        );
        let counting = refusals.count(&guess("192.0.2.1"), at(61));
        assert!(counting.first.is_some() && counting.too_many.is_none());
    }

    #[test]
    fn s32_a_flood_from_everywhere_is_a_bounded_number_of_records() {
        let refusals = Refusals::default();
        let first = |number: usize| {
            let counting = refusals.count(
                &guess(&format!("10.0.{}.{}", number / 256, number % 256)),
                at(1),
            );
            usize::from(counting.first.is_some())
        };
        assert_eq!((0..5_000).map(first).sum::<usize>(), SOURCES + 1);
        let all = refusals.take(at(1), true);
        assert_eq!(
            all.iter().map(|counted| counted.refused).sum::<u64>(),
            5_000
        );
    }
}
