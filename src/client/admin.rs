//! What an operator can do, as requests: which path each has, and whether it may be repeated.

use std::time::Duration;

use super::{Call, Client, Effect, Method, with_query};
use crate::access::{AdminToken, MintedToken, TokenName, TokenRequest};
use crate::admin::{
    Actor, Admin, AuditPage, AuditQuery, EndRequest, HistoryEntry, HistoryPage, HistoryQuery,
    ListQuery, LockPage, LockQuery, OpenRequest, Opened, OptionsSet, Outcome, Page, SetRequest,
    Stats,
};
use crate::audit::Verdict;
use crate::error::Error;
use crate::options::OptionState;
use crate::session::{SessionDetails, SessionId};
use crate::wire::{
    AuditBody, AuditVerdictBody, HistoryBody, HistoryEntryBody, ListBody, LocksBody, MintedBody,
    OpenedBody, OptionsBody, OptionsSetBody, SessionDetailsBody, SetBody, StatsBody, TokenBody,
    TokensBody, path,
};

impl Admin for Client {
    async fn list(&self, query: ListQuery) -> Result<Page, Error> {
        let mut path = format!("{}?limit={}", path::SESSIONS, query.page_size());
        if let Some(after) = query.after {
            path += &format!("&after={after}");
        }
        self.get::<ListBody>(&path).await.map(Page::from)
    }

    async fn show(&self, id: SessionId) -> Result<SessionDetails, Error> {
        let path = path::of(path::SESSION, id);
        Ok(self.get::<SessionDetailsBody>(&path).await?.details)
    }

    async fn locks(&self, query: LockQuery) -> Result<LockPage, Error> {
        let path = with_query(path::LOCKS, &query)?;
        self.get::<LocksBody>(&path).await.map(LockPage::from)
    }

    async fn history(&self, query: HistoryQuery) -> Result<HistoryPage, Error> {
        let path = with_query(path::HISTORY, &query)?;
        self.get::<HistoryBody>(&path).await.map(HistoryPage::from)
    }

    async fn closed(&self, id: SessionId) -> Result<HistoryEntry, Error> {
        let path = path::of(path::HISTORY_ENTRY, id);
        Ok(self.get::<HistoryEntryBody>(&path).await?.entry)
    }

    async fn close(&self, id: SessionId, request: EndRequest) -> Result<Outcome, Error> {
        self.end(path::CLOSE, id, &request).await
    }

    async fn drop_session(&self, id: SessionId, request: EndRequest) -> Result<Outcome, Error> {
        self.end(path::DROP, id, &request).await
    }

    async fn open(&self, request: OpenRequest) -> Result<Opened, Error> {
        let body: OpenedBody = self
            .post(path::SESSIONS, &request, Duration::ZERO, Effect::Once)
            .await?;
        body.opened()
            .ok_or_else(|| self.not_ours("a token that is none".into()))
    }

    async fn options(&self) -> Result<Vec<OptionState>, Error> {
        Ok(self.get::<OptionsBody>(path::OPTIONS).await?.items)
    }

    async fn set_options(&self, request: SetRequest) -> Result<OptionsSet, Error> {
        let SetRequest {
            changes,
            may_end,
            dry_run,
            ..
        } = request;
        let body: SetBody = changes.into_iter().collect();
        let path = format!("{}?may_end={may_end}&dry_run={dry_run}", path::OPTIONS);
        // To set the same once more changes nothing, but what it ended is told only the first time.
        let effect = if dry_run { Effect::None } else { Effect::Once };
        let body = Some(serde_json::to_vec(&body).map_err(|error| Error::Internal(error.into()))?);
        let call = Call {
            method: Method::PATCH,
            path: &path,
            body,
            wait: Duration::ZERO,
            effect,
        };
        let bytes = self.call(call).await?;
        let set: OptionsSetBody = self
            .read(&bytes)
            .map_err(|error| self.unknown(error.into()))?;
        Ok(set.set)
    }

    async fn tokens(&self) -> Result<Vec<AdminToken>, Error> {
        Ok(self.get::<TokensBody>(path::TOKENS).await?.items)
    }

    async fn create_token(&self, request: TokenRequest) -> Result<MintedToken, Error> {
        let body = TokenBody::of(&request);
        let minted: MintedBody = self
            .post(path::TOKENS, &body, Duration::ZERO, Effect::Once)
            .await?;
        minted
            .minted()
            .ok_or_else(|| self.not_ours("a token that is none".into()))
    }

    async fn revoke_token(&self, name: TokenName, _: Actor) -> Result<(), Error> {
        let path = path::TOKEN.replace("{token}", name.as_str());
        let call = Call {
            method: Method::DELETE,
            path: &path,
            body: None,
            wait: Duration::ZERO,
            effect: Effect::Once,
        };
        self.call(call).await.map(drop)
    }

    async fn audit(&self, query: AuditQuery) -> Result<AuditPage, Error> {
        let path = with_query(path::AUDIT, &query)?;
        self.get::<AuditBody>(&path).await.map(AuditPage::from)
    }

    async fn verify_audit(&self) -> Result<Verdict, Error> {
        Ok(self
            .get::<AuditVerdictBody>(path::AUDIT_VERDICT)
            .await?
            .verdict)
    }

    async fn stats(&self) -> Result<Stats, Error> {
        Ok(self.get::<StatsBody>(path::STATS).await?.stats)
    }

    async fn ready(&self) -> Result<(), Error> {
        self.call(Call::get(path::READY)).await.map(drop)
    }
}
