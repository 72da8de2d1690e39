//! What web clients and proxies see: enter, check, log out. Knows no admin route (S26).

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::header::{ALLOW, COOKIE, SET_COOKIE, USER_AGENT};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::Response;
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use serde::Deserialize;

use super::answer::{empty, error, error_as, fault, json};
use super::connection::Peer;
use super::origin::is_same_origin;
use super::{App, Shared};
use crate::admin::OpenRequest;
use crate::cookie::{CookiePolicy, Presented};
use crate::error::Error;
use crate::sessions::{Sessions, Visit};
use crate::wire::{Fault, VisitBody, path};

const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const SESSION_USER: HeaderName = HeaderName::from_static("x-session-user");
const REMOTE_USER: HeaderName = HeaderName::from_static("remote-user");

pub(super) fn routes<T: Sessions + 'static>() -> Router<Arc<Shared<T>>> {
    Router::new()
        .route(path::WEB_SESSION, get(session::<T>))
        .route(path::CHECK, any(check::<T>))
        .route(path::LOG_OUT, post(log_out::<T>))
}

/// The 4D way: the session of the cookie, or a new one. A late request with the token of before the log-in gets neither, and
/// no cookie that would overwrite the fresh one.
async fn session<T: Sessions>(
    State(shared): App<T>,
    Extension(peer): Extension<Peer>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let cookie = match shared.service.cookie() {
        Ok(cookie) => cookie,
        Err(refusal) => return error(&refusal),
    };
    let presented = match presented(&cookie, &headers) {
        Presented::Nothing | Presented::Malformed => None,
        Presented::Token(token) => Some(token),
        Presented::Ambiguous => {
            let text = format!(
                "more than one {} cookie was sent; delete the cookies of this site",
                cookie.name()
            );
            let refusal = Error::Invalid(text);
            return if is_auth(&uri) {
                error_as(403, &refusal)
            } else {
                error(&refusal)
            };
        }
    };
    let client = client(&shared, peer, &headers);
    let entered = match shared.service.enter(presented.as_ref(), client).await {
        Ok(entered) => entered,
        Err(Error::OtherAddress) if is_auth(&uri) => return other_address(),
        Err(refusal) => return error(&refusal),
    };
    let visit = entered.visit;
    let lifetime = visit.lifetime;
    let body = VisitBody {
        id: visit.id,
        user: visit.user.as_deref().map(Into::into),
        state: visit.state,
        expires_at: visit.expires_at,
    };
    let mut response = json(200, &body);
    if is_auth(&uri) {
        response = identified(response, &visit);
    }
    // A proxy holds what it is given until its application answers, which may log the client in meanwhile: the fresh cookie
    // is not to be overwritten by the one that the client came with.
    let renewed = presented.filter(|_| !is_auth(&uri));
    if let Some(token) = entered.new_token.or(renewed) {
        set_cookie(&mut response, &cookie.set(&token, lifetime));
    }
    response
}

#[derive(Deserialize)]
struct AuthQuery {
    auth: Option<u8>,
}

/// Whether a proxy asks on behalf of a request, and passes on only what is allowed or not.
fn is_auth(uri: &Uri) -> bool {
    Query::<AuthQuery>::try_from_uri(uri).is_ok_and(|query| query.0.auth == Some(1))
}

/// The answer to a proxy: nginx makes a 500 of a 400 (C13).
fn other_address() -> Response {
    error_as(403, &Error::OtherAddress)
}

#[derive(Deserialize)]
struct CheckQuery {
    touch: Option<u8>,
}

/// Forward auth: whether the request's session is live, and whose it is. Opens nothing, waits for no body. Any method that a
/// proxy passes on, but for those that are about a connection and no page (S29).
async fn check<T: Sessions>(
    State(shared): App<T>,
    Extension(peer): Extension<Peer>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if matches!(method, Method::TRACE | Method::CONNECT) {
        let mut refusal = fault(Fault::Method);
        let allowed = HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        refusal.headers_mut().insert(ALLOW, allowed);
        return refusal;
    }
    // A proxy passes its client's query on at worst; what is not `touch=0` is a request of the client.
    let touch = Query::<CheckQuery>::try_from_uri(&uri)
        .ok()
        .and_then(|query| query.0.touch)
        != Some(0);
    let cookie = match shared.service.cookie() {
        Ok(cookie) => cookie,
        Err(refusal) => return error(&refusal),
    };
    let Presented::Token(token) = presented(&cookie, &headers) else {
        return empty(StatusCode::UNAUTHORIZED);
    };
    let from = shared.trusted_proxies.client(peer, &headers);
    match shared.service.check(&token, from, touch).await {
        Ok(Some(visit)) => identified(empty(StatusCode::OK), &visit),
        Ok(None) | Err(Error::Rotated) => empty(StatusCode::UNAUTHORIZED),
        Err(Error::OtherAddress) => other_address(),
        Err(refusal) => error(&refusal),
    }
}

/// An answer to a proxy that tells the application whose session it is.
fn identified(mut response: Response, visit: &Visit) -> Response {
    let id = HeaderValue::from_str(&visit.id.to_string());
    // A name that cannot stand in a header was refused at opening; without its name nobody passes as a guest.
    let user = visit
        .user
        .as_deref()
        .map(|user| HeaderValue::from_bytes(user.as_bytes()))
        .transpose();
    let (Ok(id), Ok(user)) = (id, user) else {
        return empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    response.headers_mut().insert(SESSION_ID, id);
    if let Some(user) = user {
        response.headers_mut().insert(SESSION_USER, user.clone());
        response.headers_mut().insert(REMOTE_USER, user);
    }
    response
}

/// Closes the caller's own session. The cookie is deleted after the session is closed, which alone counts (S19).
async fn log_out<T: Sessions>(State(shared): App<T>, headers: HeaderMap) -> Response {
    if !is_same_origin(&headers) {
        return error(&Error::Forbidden(
            "a log-out from another site is refused".into(),
        ));
    }
    let cookie = match shared.service.cookie() {
        Ok(cookie) => cookie,
        Err(refusal) => return error(&refusal),
    };
    let presented = match presented(&cookie, &headers) {
        Presented::Nothing => return empty(StatusCode::UNAUTHORIZED),
        Presented::Token(token) => Some(token),
        Presented::Malformed | Presented::Ambiguous => None,
    };
    let logged_out = match &presented {
        Some(token) => shared.service.log_out(token).await,
        None => Ok(None),
    };
    let mut response = match logged_out {
        Ok(Some(_)) => empty(StatusCode::NO_CONTENT),
        Ok(None) => empty(StatusCode::UNAUTHORIZED),
        // Also for a token that was replaced at the log-in: the client has a fresh cookie, which must not be deleted.
        Err(refusal) => return error(&refusal),
    };
    set_cookie(&mut response, &cookie.delete());
    response
}

fn presented(cookie: &CookiePolicy, headers: &HeaderMap) -> Presented {
    cookie.read(headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes))
}

fn client<T>(shared: &Shared<T>, peer: Peer, headers: &HeaderMap) -> OpenRequest {
    let ip = shared.trusted_proxies.client(peer, headers);
    let user_agent = headers
        .get(USER_AGENT)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    OpenRequest {
        ip,
        user_agent,
        ..OpenRequest::default()
    }
}

/// A cookie is made of ASCII that a header may hold; if it were not, the client would go without, never with half.
fn set_cookie(response: &mut Response, cookie: &str) {
    if let Ok(mut value) = HeaderValue::from_str(cookie) {
        value.set_sensitive(true);
        response.headers_mut().insert(SET_COOKIE, value);
    }
}
