//! The admin API: one handler for each thing that an operator can do.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router, middleware};
use http_body_util::BodyExt as _;
use http_body_util::{LengthLimitError, Limited};
use serde::de::DeserializeOwned;

use super::Shared;
use super::answer::{self, fault, json, problem_json};
use super::auth::authenticate;
use super::origin::guard;
use crate::admin::{Actor, Admin, EndRequest, Ending, ListQuery, OpenRequest, Outcome, SetRequest};
use crate::error::Error;
use crate::session::{SessionId, SessionIdError};
use crate::wire::{
    self, BODY_LIMIT, EndBody, Fault, IgnoredBody, JSON, ListBody, OpenedBody, OptionsBody,
    OptionsSetBody, SCHEMA, SessionBody, SetBody, SetQuery, StatsBody, path,
};

/// Time for a client to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

type App<T> = State<Arc<Shared<T>>>;

/// The routes, all behind [`guard`] and [`authenticate`].
pub(super) fn routes<T: Admin + 'static>(shared: &Arc<Shared<T>>) -> Router<Arc<Shared<T>>> {
    Router::new()
        .route(path::SESSIONS, get(list::<T>).post(open::<T>))
        .route(path::SESSION, get(show::<T>).delete(delete::<T>))
        .route(path::CLOSE, post(close::<T>))
        .route(path::DROP, post(drop_session::<T>))
        .route(path::OPTIONS, get(options::<T>).patch(set_options::<T>))
        .route(path::STATS, get(stats::<T>))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(shared),
            authenticate::<T>,
        ))
        .route_layer(middleware::from_fn(guard))
}

async fn list<T: Admin>(State(shared): App<T>, uri: Uri) -> Result<Response, Refusal> {
    let Query(query) = Query::<ListQuery>::try_from_uri(&uri)
        .map_err(|error| Error::Invalid(error.body_text()))?;
    let page = shared.service.list(query).await?;
    Ok(json(200, &ListBody::from(page)))
}

async fn show<T: Admin>(State(shared): App<T>, Id(id): Id) -> Result<Response, Refusal> {
    let session = shared.service.show(id).await?;
    Ok(json(200, &SessionBody::from(session)))
}

async fn open<T: Admin>(
    State(shared): App<T>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request: OpenRequest = read(&headers, body).await?;
    let opened = shared.service.open(request).await?;
    Ok(json(201, &OpenedBody::from(opened)))
}

async fn close<T: Admin>(
    State(shared): App<T>,
    Id(id): Id,
    Extension(actor): Extension<Actor>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let request = read::<EndBody>(&headers, body).await?.by(actor);
    ended(&shared.service.close(id, request).await?)
}

async fn delete<T: Admin>(
    State(shared): App<T>,
    Id(id): Id,
    Extension(actor): Extension<Actor>,
) -> Result<Response, Refusal> {
    ended(&shared.service.close(id, EndRequest::by(actor)).await?)
}

async fn drop_session<T: Admin>(
    State(shared): App<T>,
    Id(id): Id,
    Extension(actor): Extension<Actor>,
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

async fn options<T: Admin>(State(shared): App<T>) -> Result<Response, Refusal> {
    Ok(json(
        200,
        &OptionsBody::from(shared.service.options().await?),
    ))
}

async fn set_options<T: Admin>(
    State(shared): App<T>,
    Extension(actor): Extension<Actor>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let Query(SetQuery { may_end, dry_run }) =
        Query::try_from_uri(&uri).map_err(|error| Error::Invalid(error.body_text()))?;
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

/// The session id in a path, in any spelling.
struct Id(SessionId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let text = Path::<String>::from_request_parts(parts, state).await;
        let Path(text) =
            text.map_err(|_| Error::Invalid(SessionIdError::Characters.to_string()))?;
        let id = text
            .parse()
            .map_err(|error: SessionIdError| Error::Invalid(error.to_string()))?;
        Ok(Self(id))
    }
}

/// Reads a JSON body. JSON alone: a form that a browser sends across sites changes nothing here (S29).
async fn read<T: DeserializeOwned>(headers: &HeaderMap, body: Body) -> Result<T, Refusal> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case(JSON) {
        return Err(Refusal::Fault(Fault::MediaType));
    }
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, BODY_LIMIT).collect());
    let bytes = match body.await.map_err(|_| Refusal::Fault(Fault::Time))? {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(Refusal::Fault(Fault::Size)),
        Err(_) => return Err(Error::Invalid("the body broke off".into()).into()),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::Invalid(format!("the body: {error}")).into())
}

/// Why a handler answers with a problem.
enum Refusal {
    Error(Error),
    Fault(Fault),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl axum::response::IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Error(error) => answer::error(&error),
            Self::Fault(found) => fault(found),
        }
    }
}
