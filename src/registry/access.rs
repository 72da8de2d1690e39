//! Admin tokens (S31), and account of who was not let in (S32).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::application::unexpected;
use super::{Registry, tell_failure_of_store};
use crate::access::{
    Access, AccessRefusal, AdminToken, Grant, MintedToken, TOKEN_LIMIT, TokenName, TokenRequest,
};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::error::Error;
use crate::session::SessionId;
use crate::store::{Applied, Change, NewToken, Store};
use crate::token::{Token, TokenHash};

/// How often it is looked whether a token still lets in whom waits with it.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// The time over which refusals of a source are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// Tokens that are nobody's which one source may present in a minute.
const GUESSES_PER_MINUTE: u64 = 20;

/// Strangers, by their networks, that are told apart in a minute; more are counted together.
const STRANGERS: usize = 256;

/// Requests that were refused, by source. Whoever has a name is told apart from everybody: no crowd of strangers hides them.
#[derive(Default)]
pub(super) struct Refusals(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    named: HashMap<String, Counted>,
    strangers: HashMap<String, Counted>,
    /// Strangers for whom there was no place any more.
    others: Option<Counted>,
}

/// What a source was refused in its minute.
struct Counted {
    source: Actor,
    since: Timestamp,
    /// All of them; the first one is in the record already.
    refused: u64,
    guesses: u64,
}

impl Counted {
    fn new(source: Actor, since: Timestamp) -> Self {
        Self {
            source,
            since,
            refused: 0,
            guesses: 0,
        }
    }

    fn is_over(&self, now: Timestamp) -> bool {
        self.since.plus(MINUTE) <= now
    }
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
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = refusal.source.to_string();
        let new = || Counted::new(refusal.source.clone(), now);
        let (counted, is_one) = if !refusal.source.is_unknown() {
            (counts.named.entry(key).or_insert_with(new), true)
        } else if counts.strangers.contains_key(&key) || counts.strangers.len() < STRANGERS {
            (counts.strangers.entry(key).or_insert_with(new), true)
        } else {
            let others = || Counted::new(Actor::unknown("others"), now);
            (counts.others.get_or_insert_with(others), false)
        };
        counted.refused += 1;
        counted.guesses += u64::from(refusal.is_guess);
        // Of those who are counted together, none has done too much.
        let is_too_many = is_one && refusal.is_guess && counted.guesses > GUESSES_PER_MINUTE;
        Counting {
            first: (counted.refused == 1).then(|| counted.source.clone()),
            too_many: is_too_many.then(|| counted.since.plus(MINUTE).since(now)),
        }
    }

    /// Takes out whose minute is over, or all.
    fn take(&self, now: Timestamp, all: bool) -> Vec<Counted> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |counted: &Counted| all || counted.is_over(now);
        let Counts {
            named,
            strangers,
            others,
        } = &mut *counts;
        let of_others = others.take_if(|counted| is_over(counted));
        let mut taken: Vec<Counted> = [named, strangers]
            .into_iter()
            .flat_map(|sources| sources.extract_if(|_, counted| is_over(counted)))
            .map(|(_, counted)| counted)
            .collect();
        taken.extend(of_others);
        taken
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
            Applied::Done => {
                let (name, role) = (&token.name, token.role);
                tracing::info!(%actor, %name, %role, "admin token made");
                Ok(MintedToken { token, secret })
            }
            applied => Err(unexpected(&applied)),
        }
    }

    pub(super) async fn revoke(&self, name: TokenName, actor: Actor) -> Result<(), Error> {
        let revoke = Change::RevokeToken {
            name: name.clone(),
            ordered_by: actor.clone(),
        };
        match self.inner.store.apply(revoke, self.now()).await? {
            Applied::NoToken => Err(Error::NoToken { name: name.into() }),
            Applied::Done => {
                tracing::info!(%actor, %name, "admin token revoked");
                Ok(())
            }
            applied => Err(unexpected(&applied)),
        }
    }

    /// Puts into the audit record, and into the log, what was refused after the first time: of whose minute is over, or of all.
    pub(super) async fn record_refusals(&self, all: bool) {
        let now = self.now();
        let more = |counted: Counted| {
            let more = counted.refused - 1;
            let within = counted.since.plus(MINUTE).min(now).since(counted.since);
            let text = format!("{more} more within {} s", within.as_secs());
            (more > 0).then(|| Order::by(&counted.source, Action::RefuseAccess, text, now))
        };
        let taken = self.inner.refusals.take(now, all);
        let orders: Vec<Order> = taken.into_iter().filter_map(more).collect();
        for order in &orders {
            let more = order.detail.as_deref().unwrap_or_default();
            tracing::warn!(source = order.actor, "admin requests refused: {more}");
        }
        if !orders.is_empty() {
            self.record(orders).await;
        }
    }

    async fn record(&self, orders: Vec<Order>) {
        let recorded = self.inner.store.apply(Change::Record(orders), self.now());
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
                tracing::debug!(name = %token.name, "an admin token was presented that has expired");
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

    async fn act_as_application(
        &self,
        actor: &Actor,
        request: String,
        session: Option<SessionId>,
    ) -> Result<(), Error> {
        let order = Order {
            session,
            ..Order::by(actor, Action::ActAsApplication, request, self.now())
        };
        let record = Change::Record(vec![order]);
        match self.inner.store.apply(record, self.now()).await? {
            Applied::Done => Ok(()),
            applied => Err(unexpected(&applied)),
        }
    }

    async fn refused(&self, refusal: AccessRefusal) -> Result<(), Error> {
        let Counting { first, too_many } = self.inner.refusals.count(&refusal, self.now());
        if let Some(source) = first {
            let AccessRefusal {
                request,
                session,
                why,
                ..
            } = refusal;
            let via = source.via().unwrap_or_default();
            let id = session.map(|id| id.to_string()).unwrap_or_default();
            tracing::warn!(%source, via, request, id, "admin request refused: {why}");
            let detail = format!("{request}: {why}");
            let order = Order {
                session,
                ..Order::by(&source, Action::RefuseAccess, detail, self.now())
            };
            self.record(vec![order]).await;
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
            session: None,
            why: "not authenticated".into(),
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
        assert_eq!((0..5_000).map(first).sum::<usize>(), STRANGERS + 1);
        // Of a crowd none is told to wait for what others did, and nobody with a name is lost in it.
        assert!(
            refusals
                .count(&guess("198.51.100.1"), at(1))
                .too_many
                .is_none()
        );
        let named = AccessRefusal {
            source: Actor::token("ci"),
            ..guess("198.51.100.1")
        };
        assert_eq!(
            refusals.count(&named, at(1)).first,
            Some(Actor::token("ci"))
        );
        let all = refusals.take(at(1), true);
        assert_eq!(
            all.iter().map(|counted| counted.refused).sum::<u64>(),
            5_002
        );
    }
}
