//! Admin tokens (S31): whom they let in. Made ones are good from the commit on, revoked ones refused from the decision on.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::{LiveSet, Prepared, Told, last_row};
use crate::access::{AdminToken, TOKEN_LIMIT, TokenName};
use crate::audit::{Action, Actor, Order};
use crate::clock::Timestamp;
use crate::session::Seq;
use crate::store::record::Row;
use crate::store::{Applied, NewToken};
use crate::token::TokenHash;

#[derive(Default)]
pub(super) struct Tokens {
    /// Taken names, also of those whose commit is under way.
    by_name: BTreeMap<TokenName, (TokenHash, Arc<AdminToken>)>,
    /// Those that are good.
    by_hash: HashMap<TokenHash, Arc<AdminToken>>,
    /// What must be on disk before anybody is told of them.
    changed: Seq,
}

impl LiveSet {
    /// The token with this hash. That there is none is told once nothing can bring it back.
    pub(in crate::store) fn token(&self, hash: &TokenHash) -> Told<Option<Arc<AdminToken>>> {
        let what = self.tokens.by_hash.get(hash).cloned();
        let durable = what.as_ref().map_or(self.tokens.changed, |_| Seq(0));
        Told { what, durable }
    }

    pub(in crate::store) fn tokens(&self) -> Told<Vec<Arc<AdminToken>>> {
        let kept = self.tokens.by_name.values();
        Told {
            what: kept.map(|(_, token)| Arc::clone(token)).collect(),
            durable: self.tokens.changed,
        }
    }

    pub(super) fn create_token(&mut self, new: NewToken, now: Timestamp) -> Prepared {
        let NewToken {
            hash,
            token,
            ordered_by,
        } = new;
        if self.tokens.by_name.contains_key(&token.name) {
            return self.no_token_changed(Applied::TokenExists);
        }
        if self.tokens.by_name.len() >= TOKEN_LIMIT {
            return self.no_token_changed(Applied::TooManyTokens);
        }
        let until = token
            .expires_at
            .map_or_else(|| "for ever".into(), |end| format!("until {end}"));
        let detail = format!("{}, role {}, {until}", token.name, token.role);
        let kept = (hash, Arc::clone(&token));
        self.tokens.by_name.insert(token.name.clone(), kept);
        let row = Row::TokenCreated {
            seq: self.next_seq(),
            hash,
            token,
        };
        let order = Order::by(&ordered_by, Action::CreateToken, detail, now);
        self.tokens_changed(row, order)
    }

    pub(super) fn revoke_token(
        &mut self,
        name: TokenName,
        ordered_by: &Actor,
        now: Timestamp,
    ) -> Prepared {
        let Some((hash, _)) = self.tokens.by_name.remove(&name) else {
            return self.no_token_changed(Applied::NoToken);
        };
        self.tokens.by_hash.remove(&hash);
        let order = Order::by(ordered_by, Action::RevokeToken, name.to_string(), now);
        let row = Row::TokenRevoked {
            seq: self.next_seq(),
            name,
        };
        self.tokens_changed(row, order)
    }

    fn tokens_changed(&mut self, row: Row, order: Order) -> Prepared {
        let rows = vec![row, self.audited(order)];
        self.tokens.changed = last_row(&rows);
        Prepared::done(rows, Applied::Done)
    }

    /// Nothing was changed, by what somebody else's change may have made of it.
    fn no_token_changed(&self, applied: Applied) -> Prepared {
        Prepared {
            durable: self.tokens.changed,
            ..Prepared::done(Vec::new(), applied)
        }
    }

    /// A token that was made is good from here on, unless it was revoked before its commit.
    pub(super) fn token_created(&mut self, hash: TokenHash, token: &Arc<AdminToken>) {
        let is_kept = |(kept, _): &(TokenHash, _)| *kept == hash;
        if self.tokens.by_name.get(&token.name).is_some_and(is_kept) {
            self.tokens.by_hash.insert(hash, Arc::clone(token));
        }
    }

    /// Lets nobody in any more; answers how many tokens there were.
    pub(in crate::store) fn forget_tokens(&mut self) -> usize {
        std::mem::take(&mut self.tokens).by_name.len()
    }

    /// Puts back a token that a store had kept.
    pub(in crate::store) fn restore_token(&mut self, hash: TokenHash, token: AdminToken) {
        let token = Arc::new(token);
        let kept = (hash, Arc::clone(&token));
        self.tokens.by_name.insert(token.name.clone(), kept);
        self.tokens.by_hash.insert(hash, token);
    }
}
