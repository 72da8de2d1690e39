//! What a request of the admin API names, asks and brings; and how one is refused.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Query, RawPathParams, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::request::Parts;
use axum::http::{HeaderMap, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::BodyExt as _;
use http_body_util::{LengthLimitError, Limited};
use hyper::body::Body as _;
use serde::de::DeserializeOwned;

use super::Shared;
use super::answer::{self, fault};
use super::auth::Caller;
use crate::access::TokenName;
use crate::application::At;
use crate::context::{ContextError, Json, Name, Record};
use crate::error::Error;
use crate::json;
use crate::session::{ProcessNumber, ProcessNumberError, SessionId, SessionIdError};
use crate::token::looks_like_secret;
use crate::wire::{BODY_LIMIT, CONTEXT_BODY_LIMIT, Fault, JSON, Route, WaitQuery};

/// Time for a client to send its body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The session in a path, in any spelling.
pub(super) struct Id(pub(super) SessionId);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let id = segment(parts, state, "id").await?;
        let id = id
            .parse::<SessionId>()
            .map_err(|error: SessionIdError| Error::Invalid(error.to_string()))?;
        Ok(Self(id))
    }
}

/// The process in a path.
pub(super) struct Process(pub(super) At);

impl<S: Send + Sync> FromRequestParts<S> for Process {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Id(id) = Id::from_request_parts(parts, state).await?;
        let process = segment(parts, state, "process").await?;
        let process = process
            .parse::<ProcessNumber>()
            .map_err(|error: ProcessNumberError| Error::Invalid(error.to_string()))?;
        Ok(Self(At { id, process }))
    }
}

/// The name of a variable or of a selection in a path.
pub(super) struct Named(pub(super) Name);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        Ok(Self(Name::new(&segment(parts, state, "name").await?)?))
    }
}

/// The name of an admin token in a path.
pub(super) struct TokenNamed(pub(super) TokenName);

impl<S: Send + Sync> FromRequestParts<S> for TokenNamed {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let name = segment(parts, state, "token").await?;
        Ok(Self(name.try_into().map_err(Error::Invalid)?))
    }
}

/// The record in a path.
pub(super) struct Locked(pub(super) Record);

impl<S: Send + Sync> FromRequestParts<S> for Locked {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let table = Name::new(&segment(parts, state, "table").await?)?;
        let record = Name::new(&segment(parts, state, "record").await?)?;
        Ok(Self(Record { table, record }))
    }
}

/// A segment of the path, its `%`-escapes read.
async fn segment<S: Send + Sync>(
    parts: &mut Parts,
    state: &S,
    name: &str,
) -> Result<String, Refusal> {
    let segments = RawPathParams::from_request_parts(parts, state).await;
    let segments =
        segments.map_err(|_| Error::Invalid("the path is not UTF-8 behind its escapes".into()))?;
    let found = segments.iter().find(|(found, _)| *found == name);
    let (_, text) =
        found.ok_or_else(|| Error::Internal(format!("the route names no {name}").into()))?;
    Ok(text.to_owned())
}

/// The time that a request may wait.
pub(super) struct Wait(pub(super) Duration);

impl<S: Send + Sync> FromRequestParts<S> for Wait {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let wait = query::<WaitQuery>(&parts.uri)?.duration();
        Ok(Self(wait.map_err(Error::Invalid)?))
    }
}

/// Refuses a query where none is read (S37): `?must_exist=true` at a route that takes it in the body would be a wish that
/// nobody hears.
pub(super) async fn known_query(request: Request, next: Next) -> Response {
    let route = Route::of(request.method().as_str(), request.uri().path());
    let takes_some = route.is_some_and(|route| route.takes_query);
    if !takes_some && request.uri().query().is_some_and(|query| !query.is_empty()) {
        let text = "this request takes nothing in the query of its path";
        return answer::error(&Error::Invalid(text.into()));
    }
    next.run(request).await
}

/// Reads the query.
pub(super) fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Error> {
    let Query(query) =
        Query::try_from_uri(uri).map_err(|error| not_understood(error.body_text()))?;
    Ok(query)
}

/// Reads a JSON body.
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    check_media_type(headers)?;
    parse(&bytes(body, BODY_LIMIT).await?)
}

/// Reads a JSON body that may be as large as a context.
pub(super) async fn read_large<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: Body,
) -> Result<T, Refusal> {
    check_media_type(headers)?;
    parse(&bytes(body, CONTEXT_BODY_LIMIT).await?)
}

/// Reads a value for a context, as it is written.
pub(super) async fn read_value(headers: &HeaderMap, body: Body) -> Result<Json, Refusal> {
    check_media_type(headers)?;
    let bytes = bytes(body, CONTEXT_BODY_LIMIT).await?;
    let text = std::str::from_utf8(&bytes).map_err(|error| ContextError::Json(error.to_string()));
    Ok(Json::new(text?)?)
}

/// JSON alone: a form that a browser sends across sites changes nothing here (S29).
fn check_media_type(headers: &HeaderMap) -> Result<(), Refusal> {
    let media_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case(JSON) {
        Ok(())
    } else {
        Err(Refusal::Fault(Fault::MediaType))
    }
}

async fn bytes(body: Body, limit: usize) -> Result<Bytes, Refusal> {
    let body = tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, limit).collect());
    match body.await.map_err(|_| Refusal::Fault(Fault::Time))? {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(Refusal::Fault(Fault::Size(limit))),
        Err(_) => Err(Error::Invalid("the body broke off".into()).into()),
    }
}

/// Reads a request whole before anything of it is looked at: whoever is refused while it still sends is not told why. A body
/// where none is read is refused (S37): what it says is a wish that nobody hears.
pub(super) async fn whole<T: Send + Sync + 'static>(
    State(shared): State<Arc<Shared<T>>>,
    Extension(Caller { role, .. }): Extension<Caller>,
    request: Request,
    next: Next,
) -> Response {
    if request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let Some(place) = shared.waiting.place_for_body(role) else {
        let retry_after = Duration::from_secs(1);
        return answer::error(&Error::Busy { retry_after });
    };
    let read = bytes(body, CONTEXT_BODY_LIMIT).await;
    drop(place);
    let route = Route::of(parts.method.as_str(), parts.uri.path());
    match read {
        Ok(body) if !body.is_empty() && !route.is_some_and(Route::takes_body) => {
            answer::error(&Error::Invalid("this request takes no body".into()))
        }
        Ok(body) => next.run(Request::from_parts(parts, body.into())).await,
        Err(refusal) => refusal.into_response(),
    }
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Refusal> {
    // An array would be taken for an object whose fields come in order.
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Error::Invalid("the body is not a JSON object".into()).into());
    }
    // First as a whole: a map would keep the last of two members with one name (S37).
    json::check(bytes)
        .and_then(|()| serde_json::from_slice(bytes))
        .map_err(|error| not_understood(format!("the body: {error}")).into())
}

/// Says what is wrong, unless that repeats what may be a secret: a token that was pasted where a name belongs.
fn not_understood(text: String) -> Error {
    if looks_like_secret(&text) {
        let text = "the request has something that looks like a secret in the wrong place; it is not repeated here";
        return Error::Invalid(text.into());
    }
    Error::Invalid(text)
}

/// Why a handler answers with a problem.
pub(super) enum Refusal {
    Error(Error),
    Fault(Fault),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<ContextError> for Refusal {
    fn from(error: ContextError) -> Self {
        Self::Error(error.into())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        match self {
            Self::Error(error) => answer::error(&error),
            Self::Fault(found) => fault(found),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use serde_json::Value;

    use super::*;
    use crate::admin::{HistoryQuery, LockQuery};
    use crate::clock::Timestamp;
    use crate::session::{Cause, Seq};

    fn asked<T: DeserializeOwned>(query: &str) -> Result<T, Error> {
        super::query(&format!("/x?{query}").parse().unwrap())
    }

    #[test]
    fn queries_are_read_with_their_escapes() {
        let name = |text: &str| Some(Name::new(text).unwrap());
        let locks =
            "table=In%2Fvo+ices&record=%F0%9F%94%91%26&limit=2&after_table=a&after_record=b";
        assert_eq!(
            asked::<LockQuery>(locks).unwrap(),
            LockQuery {
                table: name("In/vo ices"),
                record: name("🔑&"),
                session: None,
                after_table: name("a"),
                after_record: name("b"),
                limit: Some(2),
            }
        );
        let history = "user=ana&cause=evicted&since=2025-01-01T00:00:00Z&before=7";
        assert_eq!(
            asked::<HistoryQuery>(history).unwrap(),
            HistoryQuery {
                user: Some("ana".into()),
                cause: Some(Cause::Evicted),
                since: Some(Timestamp::from_millis(1_735_689_600_000)),
                before: Some(Seq(7)),
                limit: None,
            }
        );
        for wrong in [
            "table=%00",
            "session=x",
            "limit=-1",
            "unknown=1",
            "limit=1&limit=2",
        ] {
            assert!(asked::<LockQuery>(wrong).is_err(), "{wrong}");
        }
        assert!(asked::<HistoryQuery>("cause=boredom").is_err());
    }

    #[tokio::test]
    async fn bodies_are_json_and_no_larger_than_they_may_be() {
        let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(JSON))]);
        let value = |text: &str| read_value(&json, Body::from(text.to_owned()));
        let kept = value(" {\"b\": 1e2, \"a\": 12345678901234567890123}\n").await;
        assert_eq!(
            kept.ok().unwrap().as_str(),
            "{\"b\": 1e2, \"a\": 12345678901234567890123}"
        );
        for text in ["", "{", "nul"] {
            let refused = value(text).await.err().unwrap();
            assert!(matches!(
                refused,
                Refusal::Error(Error::Context(ContextError::Json(_)))
            ));
        }
        let refused = read_value(&json, Body::from(&b"\"\xff\""[..])).await;
        assert_eq!(refused.err().unwrap().into_response().status(), 422);
        let refused = read_value(&HeaderMap::new(), Body::from("1")).await;
        assert_eq!(refused.err().unwrap().into_response().status(), 415);
        let long = |limit: usize| Body::from(format!("\"{}\"", "x".repeat(limit - 2)));
        let object = |limit: usize| Body::from(format!("{{\"a\":\"{}\"}}", "x".repeat(limit - 8)));
        assert!(read::<Value>(&json, object(BODY_LIMIT)).await.is_ok());
        let array = read::<Value>(&json, Body::from("[]")).await;
        assert_eq!(array.err().unwrap().into_response().status(), 400);
        let refused = read::<Value>(&json, object(BODY_LIMIT + 1)).await;
        assert_eq!(refused.err().unwrap().into_response().status(), 413);
        assert!(read_value(&json, long(CONTEXT_BODY_LIMIT)).await.is_ok());
        let refused = read_value(&json, long(CONTEXT_BODY_LIMIT + 1)).await;
        assert_eq!(refused.err().unwrap().into_response().status(), 413);
    }
}
