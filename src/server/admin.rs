//! The operators' half of the admin API: one handler for each thing that an operator can do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router, routing};
use uuid::Uuid;

use super::answer::{empty, json, problem_json};
use super::auth::Caller;
use super::extract::{Id, Refusal, TokenNamed, query, read};
use super::{App, Shared};
use crate::access::Access;
use crate::admin::{Admin, EndRequest, Ending, Outcome, SetRequest};
use crate::wire::{
    self, AuditBody, AuditVerdictBody, EndBody, HistoryBody, HistoryEntryBody, IgnoredBody,
    ListBody, LocksBody, MintedBody, OptionsBody, OptionsSetBody, SCHEMA, SessionDetailsBody,
    SetBody, SetQuery, StatsBody, TokenBody, TokensBody, path,
};

pub(super) fn routes<T: Admin + Access + 'static>() -> Router<Arc<Shared<T>>> {
    Router::new()
        .route(path::SESSIONS, get(list::<T>))
        .route(path::SESSION, get(show::<T>).delete(delete::<T>))
        .route(path::CLOSE, post(close::<T>))
        .route(path::DROP, post(drop_session::<T>))
        .route(path::LOCKS, get(locks::<T>))
        .route(path::HISTORY, get(history::<T>))
        .route(path::HISTORY_ENTRY, get(closed::<T>))
        .route(path::AUDIT, get(audit::<T>))
        .route(path::AUDIT_VERDICT, get(verify_audit::<T>))
        .route(path::TOKENS, get(tokens::<T>).post(create_token::<T>))
        .route(path::TOKEN, routing::delete(revoke_token::<T>))
        .route(path::OPTIONS, get(options::<T>).patch(set_options::<T>))
        .route(path::STATS, get(stats::<T>))
}

async fn list<T: Admin>(State(shared): App<T>, uri: Uri) -> Result<Response, Refusal> {
    let page = shared.service.list(query(&uri)?).await?;
    Ok(json(200, &ListBody::from(page)))
}

async fn show<T: Admin>(State(shared): App<T>, Id(id): Id) -> Result<Response, Refusal> {
    let details = shared.service.show(id).await?;
    Ok(json(200, &SessionDetailsBody::from(details)))
}

async fn locks<T: Admin>(State(shared): App<T>, uri: Uri) -> Result<Response, Refusal> {
    let page = shared.service.locks(query(&uri)?).await?;
    Ok(json(200, &LocksBody::from(page)))
}

async fn history<T: Admin>(State(shared): App<T>, uri: Uri) -> Result<Response, Refusal> {
    let page = shared.service.history(query(&uri)?).await?;
    Ok(json(200, &HistoryBody::from(page)))
}

async fn closed<T: Admin>(State(shared): App<T>, Id(id): Id) -> Result<Response, Refusal> {
    let entry = shared.service.closed(id).await?;
    Ok(json(200, &HistoryEntryBody::from(entry)))
}

async fn audit<T: Admin>(State(shared): App<T>, uri: Uri) -> Result<Response, Refusal> {
    let page = shared.service.audit(query(&uri)?).await?;
    Ok(json(200, &AuditBody::from(page)))
}

async fn verify_audit<T: Admin>(State(shared): App<T>) -> Result<Response, Refusal> {
    let verdict = shared.service.verify_audit().await?;
    Ok(json(200, &AuditVerdictBody::from(verdict)))
}

async fn close<T: Admin + Access>(
    State(shared): App<T>,
    Id(id): Id,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut request = read::<EndBody>(&headers, body)
        .await?
        .by(caller.actor.clone());
    let wait = request.wait;
    if !wait.is_zero() {
        // Whoever asks once more, because the server stops, is to get the outcome of its own call (C15).
        request.request_id = Some(request.request_id.unwrap_or_else(Uuid::new_v4));
    }
    let close = |wait| {
        let request = request.clone();
        shared.service.close(id, EndRequest { wait, ..request })
    };
    let until_gone = shared.until_gone(&caller);
    let outcome = match shared.waiting.patient(wait, until_gone, close).await {
        Some(outcome) => outcome?,
        // Whoever is let in no longer is told all the same what came of its own call.
        None => close(Duration::ZERO).await?,
    };
    ended(&outcome)
}

async fn delete<T: Admin>(
    State(shared): App<T>,
    Id(id): Id,
    Extension(Caller { actor, .. }): Extension<Caller>,
) -> Result<Response, Refusal> {
    ended(&shared.service.close(id, EndRequest::by(actor)).await?)
}

async fn drop_session<T: Admin>(
    State(shared): App<T>,
    Id(id): Id,
    Extension(Caller { actor, .. }): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request = read::<EndBody>(&headers, body).await?.by(actor);
    ended(&shared.service.drop_session(id, request).await?)
}

fn ended(outcome: &Outcome) -> Result<Response, Refusal> {
    let status = wire::outcome_status(outcome);
    Ok(match outcome.outcome {
        Ending::Ignored => problem_json(status, &IgnoredBody::from(outcome)),
        _ => json(status, outcome),
    })
}

async fn tokens<T: Admin>(State(shared): App<T>) -> Result<Response, Refusal> {
    let tokens = shared.service.tokens().await?;
    Ok(json(200, &TokensBody::from(tokens)))
}

async fn create_token<T: Admin>(
    State(shared): App<T>,
    Extension(Caller { actor, .. }): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request = read::<TokenBody>(&headers, body).await?.by(actor);
    let minted = shared.service.create_token(request).await?;
    Ok(json(201, &MintedBody::from(minted)))
}

async fn revoke_token<T: Admin>(
    State(shared): App<T>,
    Extension(Caller { actor, .. }): Extension<Caller>,
    TokenNamed(name): TokenNamed,
) -> Result<Response, Refusal> {
    shared.service.revoke_token(name, actor).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn options<T: Admin>(State(shared): App<T>) -> Result<Response, Refusal> {
    Ok(json(
        200,
        &OptionsBody::from(shared.service.options().await?),
    ))
}

async fn set_options<T: Admin>(
    State(shared): App<T>,
    Extension(Caller { actor, .. }): Extension<Caller>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let SetQuery { may_end, dry_run } = query(&uri)?;
    let changes = read::<SetBody>(&headers, body).await?.into_iter().collect();
    let request = SetRequest {
        changes,
        may_end,
        dry_run,
        actor,
    };
    let set = shared.service.set_options(request).await?;
    Ok(json(
        200,
        &OptionsSetBody {
            schema: SCHEMA,
            set,
        },
    ))
}

async fn stats<T: Admin>(State(shared): App<T>) -> Result<Response, Refusal> {
    let stats = shared.service.stats().await?;
    Ok(json(
        200,
        &StatsBody {
            schema: SCHEMA,
            stats,
        },
    ))
}
