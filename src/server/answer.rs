//! Answers as HTTP: JSON, problems, and what every one of them carries.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::error::Error;
use crate::wire::{Fault, JSON, PROBLEM_JSON, Problem};

/// An answer without a body.
pub(super) fn empty(status: StatusCode) -> Response {
    with_body(status, None, Body::empty())
}

/// A JSON answer.
pub(super) fn json(status: u16, body: &impl Serialize) -> Response {
    as_json(status, JSON, body)
}

/// An answer that is a problem and says more than one.
pub(super) fn problem_json(status: u16, body: &impl Serialize) -> Response {
    as_json(status, PROBLEM_JSON, body)
}

/// The same problem under another status.
pub(super) fn error_as(status: u16, error: &Error) -> Response {
    problem(&Problem {
        status,
        ..Problem::from(error)
    })
}

/// An error as a problem; what the client may not know goes to the log.
pub(super) fn error(error: &Error) -> Response {
    match error {
        Error::Internal(source) => tracing::error!(%source, "{error}"),
        // The store has told of its failure once; every request after it would tell it again.
        Error::Unavailable(source) | Error::Unconfirmed(source) => {
            tracing::debug!(%source, "{error}")
        }
        _ => {}
    }
    let mut response = problem(&Problem::from(error));
    // The other 401s are for a cookie, which no challenge asks for.
    if matches!(error, Error::Unauthenticated) {
        response
            .headers_mut()
            .insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// A refusal that came before any session was asked for.
pub(super) fn fault(fault: Fault) -> Response {
    problem(&fault.problem())
}

fn problem(problem: &Problem) -> Response {
    let mut response = as_json(problem.status, PROBLEM_JSON, problem);
    if let Some(millis) = problem.retry_after {
        // Rounded up: whoever comes when it was told to is not to be too early.
        let seconds = millis.div_ceil(1_000).max(1);
        response
            .headers_mut()
            .insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn as_json(status: u16, media_type: &'static str, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => {
            let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            with_body(status, Some(media_type), Body::from(bytes))
        }
        Err(error) => {
            tracing::error!(%error, "an answer could not be written as JSON");
            empty(StatusCode::INTERNAL_SERVER_ERROR)
        }
    }
}

/// No answer of this server is for a cache: each tells of one session at one moment (S21).
fn with_body(status: StatusCode, media_type: Option<&'static str>, body: Body) -> Response {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(media_type) = media_type {
        response
            .headers_mut()
            .insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    response
}
