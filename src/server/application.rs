//! The application's half of the admin API: opening and signing in, processes, and what they work with.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{get, post, put};
use axum::{Extension, Router};

use super::answer::{empty, json};
use super::auth::Caller;
use super::extract::{
    Id, Locked, Named, Process, Refusal, Wait, query, read, read_large, read_value,
};
use super::{App, Shared};
use crate::access::{Access, Role};
use crate::admin::OpenRequest;
use crate::application::Application;
use crate::error::Error;
use crate::wire::{LoginBody, OpenedBody, SavedBody, SavedQuery, SelectionBody, StartBody, path};

pub(super) fn routes<T: Application + Access + 'static>() -> Router<Arc<Shared<T>>> {
    let variable = get(variable::<T>)
        .put(set_variable::<T>)
        .delete(reset_variable::<T>);
    let selection = get(selection::<T>)
        .put(set_selection::<T>)
        .delete(destroy_selection::<T>);
    Router::new()
        .route(path::SESSIONS, post(open::<T>))
        .route(path::LOGIN, post(log_in::<T>))
        .route(path::SAVED, get(saved::<T>))
        .route(path::PROCESSES, post(start::<T>))
        .route(path::PROCESS, get(poll::<T>).delete(end::<T>))
        .route(path::CONTEXT, get(context::<T>))
        .route(path::VARIABLE, variable)
        .route(path::SELECTION, selection)
        .route(path::LOCK, put(lock::<T>).delete(unlock::<T>))
}

async fn open<T: Application>(
    State(shared): App<T>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let mut request: OpenRequest = read(&headers, body).await?;
    // What the application opens for its clients is its daily work.
    request.actor = (caller.role != Role::App).then_some(caller.actor);
    let opened = shared.service.open(request).await?;
    Ok(json(201, &OpenedBody::from(opened)))
}

async fn log_in<T: Application>(
    State(shared): App<T>,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let LoginBody { user } = read(&headers, body).await?;
    let opened = shared.service.log_in(id, user).await?;
    Ok(json(200, &OpenedBody::from(opened)))
}

/// Hands out what the on-close method left (C05). A request whose answer has no body only looks: what it handed out would
/// be lost.
async fn saved<T: Application>(
    State(shared): App<T>,
    Id(id): Id,
    method: Method,
    uri: Uri,
) -> Result<Response, Refusal> {
    let takes = query::<SavedQuery>(&uri)?.takes().map_err(Error::Invalid)?;
    let saved = if takes && method != Method::HEAD {
        shared.service.take_saved(id).await?
    } else {
        shared.service.look_at_saved(id).await?
    };
    Ok(json(200, &SavedBody::from(saved)))
}

async fn start<T: Application>(
    State(shared): App<T>,
    Id(id): Id,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let lease = read::<StartBody>(&headers, body).await?.lease();
    let status = shared.service.start_process(id, lease).await?;
    Ok(json(201, &status))
}

async fn poll<T: Application + Access>(
    State(shared): App<T>,
    Extension(caller): Extension<Caller>,
    Process(at): Process,
    Wait(wait): Wait,
) -> Result<Response, Refusal> {
    let poll = |wait| shared.service.poll_process(at, wait);
    Ok(json(200, &shared.patient(&caller, wait, poll).await?))
}

async fn end<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
) -> Result<Response, Refusal> {
    shared.service.end_process(at).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn context<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
) -> Result<Response, Refusal> {
    Ok(json(200, &shared.service.context(at).await?))
}

async fn variable<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Named(name): Named,
) -> Result<Response, Refusal> {
    let context = shared.service.context(at).await?;
    match context.variables.get(&name) {
        Some(value) => Ok(json(200, value)),
        None => Err(Error::NotSet { what: "variable" }.into()),
    }
}

async fn set_variable<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Named(name): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let value = read_value(&headers, body).await?;
    shared.service.set_variable(at, name, Some(value)).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn reset_variable<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Named(name): Named,
) -> Result<Response, Refusal> {
    shared.service.set_variable(at, name, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn selection<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Named(name): Named,
) -> Result<Response, Refusal> {
    let context = shared.service.context(at).await?;
    match context.selections.get(&name) {
        Some(selection) => Ok(json(200, selection)),
        None => Err(Error::NotSet { what: "selection" }.into()),
    }
}

async fn set_selection<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Named(name): Named,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let body: SelectionBody = read_large(&headers, body).await?;
    let selection = Some(body.selection()?);
    shared.service.set_selection(at, name, selection).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn destroy_selection<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Named(name): Named,
) -> Result<Response, Refusal> {
    shared.service.set_selection(at, name, None).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}

async fn lock<T: Application + Access>(
    State(shared): App<T>,
    Extension(caller): Extension<Caller>,
    Process(at): Process,
    Locked(record): Locked,
    Wait(wait): Wait,
) -> Result<Response, Refusal> {
    // Whoever is cut short by a stop may have been given the lock already, and is told so: a lock that nobody is told of
    // would be held after the restart.
    let lock = |wait| shared.service.lock(at, record.clone(), wait);
    Ok(json(200, &shared.patient(&caller, wait, lock).await?))
}

async fn unlock<T: Application>(
    State(shared): App<T>,
    Process(at): Process,
    Locked(record): Locked,
) -> Result<Response, Refusal> {
    shared.service.unlock(at, record).await?;
    Ok(empty(StatusCode::NO_CONTENT))
}
