//! Who may use the admin API: the same user or root over the unix socket, whoever has the token over TCP (S26, S27).

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::AUTHORIZATION;
use axum::middleware::Next;
use axum::response::Response;

use super::Shared;
use super::answer;
use super::connection::Peer;
use crate::admin::Actor;
use crate::error::Error;
use crate::token::{Token, TokenHash};

/// Lets a request through as its [`Actor`], or refuses it.
pub(super) async fn authenticate<T>(
    State(shared): State<Arc<Shared<T>>>,
    mut request: Request,
    next: Next,
) -> Response {
    match actor(&request, shared.admin_token.as_ref()) {
        Ok(actor) => {
            request.extensions_mut().insert(actor);
            next.run(request).await
        }
        Err(error) => {
            let peer = request.extensions().get::<Peer>().map(Peer::to_string);
            tracing::warn!(
                peer = peer.unwrap_or_default(),
                "admin request refused: {error}"
            );
            answer::error(&error)
        }
    }
}

fn actor(request: &Request, admin_token: Option<&TokenHash>) -> Result<Actor, Error> {
    let me = rustix::process::geteuid().as_raw();
    match request.extensions().get::<Peer>() {
        Some(Peer::Unix { uid: Some(uid) }) if *uid == me || *uid == 0 => Ok(Actor::user(*uid)),
        Some(Peer::Unix { uid }) => {
            let who = uid.map_or_else(|| "an unknown user".into(), |uid| format!("uid {uid}"));
            Err(Error::Forbidden(format!(
                "{who} may not use this admin socket; its owner and root may"
            )))
        }
        Some(Peer::Tcp(_)) => {
            let presented = bearer(request).ok_or(Error::Unauthenticated)?;
            let known = admin_token.is_some_and(|known| known.matches(&presented.hash()));
            if known {
                Ok(Actor::token("admin"))
            } else {
                Err(Error::Unauthenticated)
            }
        }
        None => Err(Error::Unauthenticated),
    }
}

fn bearer(request: &Request) -> Option<Token> {
    let mut values = request.headers().get_all(AUTHORIZATION).iter();
    let (value, None) = (values.next()?, values.next()) else {
        return None;
    };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        Token::parse(token.trim())
    } else {
        None
    }
}
